//! What a code of the quarantine means to the people who look through it, and what can be done about it.
//!
//! Texts are Chinese first: duty staff and the administrator of a bureau read them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::account::Role;

/// What may be said about the times of a block when it is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shift {
    /// The times stand: other rows of the block are stored already, or they are right.
    None,
    /// As they are, or moved by what the clock was wrong.
    Optional,
    /// They mean nothing until somebody says by how much they are wrong.
    Needed,
}

/// A sentence in two languages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Text {
    /// In Chinese.
    pub zh: String,
    /// In English.
    pub en: String,
}

impl Text {
    pub(super) fn of(zh: &str, en: &str) -> Self {
        Self { zh: zh.to_owned(), en: en.to_owned() }
    }
}

/// What a code means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reason {
    /// What happened.
    pub what: Text,
    /// What to do.
    pub mend: Text,
    /// What may be said about its times.
    pub shift: Shift,
}

/// What a code means; an unknown one, of a newer version, is said as such.
#[must_use]
pub fn reason(code: &str) -> Reason {
    let of = |shift, what: (&str, &str), mend: (&str, &str)| Reason {
        what: Text::of(what.0, what.1),
        mend: Text::of(mend.0, mend.1),
        shift,
    };
    match code {
        "future" => of(
            Shift::Optional,
            (
                "样本时间比中心时钟超前 60 秒以上，未入库，规则未判定。",
                "The samples lie more than 60 s ahead of the centre's clock: neither stored nor judged.",
            ),
            (
                "先查明谁的时钟不准。中心时钟当时偏慢：校时后原样补录；网关时钟偏快：给网关校时，填写偏差后补录。",
                "Find out whose clock was wrong. The centre's was slow: set it, then replay as they are. The gateway's was fast: set it, then replay with the difference.",
            ),
        ),
        "time_unknown" => of(
            Shift::Needed,
            (
                "网关该次开机期间时钟从未校准，样本的真实时间无从得知（不晚于接收时间）。",
                "The gateway's clock was never set in that boot: when the samples were taken is not known (not after they were received).",
            ),
            (
                "从现场记录（停送电时间、巡检记录）查出时间偏差，填写后补录；查不出则丢弃。",
                "Learn the difference from the plant's records (power cut, rounds), then replay with it; discard where nobody knows.",
            ),
        ),
        "key_reuse" => of(
            Shift::Optional,
            (
                "同一编号先后收到两个内容不同的数据块：磁盘镜像被复制、两台网关同名，或数据被伪造。",
                "Two different blocks came under one key: a copied disk image, two gateways under one name, or a forgery.",
            ),
            (
                "核实来源前不要补录。确系真实数据的，由业务科室以新编号收录；否则丢弃，并重新发放网关密钥。",
                "Do not replay before its source is known. If it is genuine, a section officer accepts it under an identity of its own; else discard it and give the gateway a new key.",
            ),
        ),
        "too_old" => of(
            Shift::None,
            (
                "样本早于历史库的保留期限，历史库拒收。",
                "The samples are older than the store's retention: it refused them.",
            ),
            (
                "延长历史库保留期限后补录；不需要则丢弃。",
                "Lengthen the store's retention, then replay; discard what nobody needs.",
            ),
        ),
        "too_far_ahead" => of(
            Shift::Optional,
            (
                "样本时间比接收时间超前一天以上，历史库拒收。",
                "The samples lie more than a day after they were received: the store refused them.",
            ),
            (
                "给网关校时，填写偏差后补录。",
                "Set the gateway's clock, then replay with the difference.",
            ),
        ),
        "bad_name" => of(
            Shift::None,
            (
                "设备或测点名称不能用作历史库的标签。",
                "The name of a device or quantity cannot be a tag of the store.",
            ),
            (
                "改正网关配置中的名称，之后的数据即可入库。已隔离的这一块带着旧名称，不能补录，只能导出或丢弃。",
                "Mend the name in the gateway's configuration: what follows is stored. This block carries the old name and cannot be replayed; export or discard it.",
            ),
        ),
        "type_conflict" | "unparsable" | "poison" | "too_large" => of(
            Shift::None,
            ("历史库拒收其中部分数据。", "The store refused some of it."),
            (
                "按历史库的答复修复（字段类型、桶设置、单次写入上限），再补录；已入库的部分重写不变。",
                "Mend the store by what it answered (type of a field, settings of the bucket, its bound on a write), then replay; what is stored already is written again unchanged.",
            ),
        ),
        "protobuf" | "missing_field" | "bounds" | "name" | "unknown_value" | "inconsistent"
        | "compression" | "columns" => of(
            Shift::None,
            (
                "数据块无法解读：格式错误，或由更新版本的网关发出。",
                "The block cannot be read: it is malformed, or a newer version of the gateway made it.",
            ),
            (
                "无法解读的数据不能补录。网关版本较新的，升级中心后再试；否则导出给技术人员，或丢弃。",
                "What cannot be read cannot be replayed. Where the gateway is newer, upgrade the centre and try again; else export it for the makers, or discard it.",
            ),
        ),
        _ => of(
            Shift::None,
            ("原因代码由其他版本写入。", "The code was written by another version."),
            ("用写入它的版本查看。", "Look at it with the version that wrote it."),
        ),
    }
}

/// Who may give a block back. What may be forged is taken into history by an office, not by who runs the machines.
#[must_use]
pub fn may_replay(code: &str) -> &'static [Role] {
    match code {
        "key_reuse" => &[Role::Officer],
        _ => &[Role::Administrator, Role::Officer],
    }
}

/// Who may throw a block away. A plant's readings are evidence: whoever runs the machines may discard only what nobody
/// can read.
#[must_use]
pub fn may_discard(is_readable: bool) -> &'static [Role] {
    if is_readable { &[Role::Officer] } else { &[Role::Administrator, Role::Officer] }
}

/// Every code that this version sets aside under.
pub const CODES: [&str; 19] = [
    "future",
    "time_unknown",
    "key_reuse",
    "too_old",
    "too_far_ahead",
    "bad_name",
    "type_conflict",
    "unparsable",
    "poison",
    "too_large",
    "protobuf",
    "missing_field",
    "bounds",
    "name",
    "unknown_value",
    "inconsistent",
    "compression",
    "columns",
    "unknown",
];
