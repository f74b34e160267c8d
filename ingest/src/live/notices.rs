//! What people should know now: one notice per code and thing, with its words and how much it matters.

use std::collections::BTreeMap;

use crate::api::source::{Notice, NoticeLevel};

/// Notices kept.
const NOTICES_MAX: usize = 1_000;

/// The notices that are up.
#[derive(Debug, Default)]
pub(super) struct Notices(BTreeMap<(String, String), Notice>);

impl Notices {
    /// Puts a notice up; `true` where it was not up. One that is up keeps its beginning.
    pub(super) fn put(&mut self, code: &str, about: &str, text: &str, now: i64) -> bool {
        let key = (code.to_owned(), about.to_owned());
        let before = self.0.get(&key).map(|notice| notice.since);
        if before.is_none() && self.0.len() >= NOTICES_MAX {
            self.forget_oldest();
        }
        let en = if about.is_empty() { text.to_owned() } else { format!("{about}: {text}") };
        let (level, zh) = words(code);
        let zh = match (zh, about) {
            ("", _) => en.clone(),
            // Words that end with a colon are followed by what they cannot know.
            (zh, _) if zh.ends_with('：') => format!("{zh}{en}"),
            (zh, "") => zh.to_owned(),
            (zh, about) => format!("{zh}（{about}）"),
        };
        let since = before.unwrap_or(now);
        self.0.insert(key, Notice { code: code.to_owned(), level, zh, en, since });
        before.is_none()
    }

    /// Takes a notice down; `true` where it was up.
    pub(super) fn take_down(&mut self, code: &str) -> bool {
        self.0.remove(&(code.to_owned(), String::new())).is_some()
    }

    /// All of them, those that stop alarms first, then newest first.
    pub(super) fn all(&self) -> Vec<Notice> {
        let mut notices: Vec<Notice> = self.0.values().cloned().collect();
        notices.sort_by_key(|notice| (notice.level, std::cmp::Reverse(notice.since)));
        notices
    }

    /// Notices that say that alarms are stopped are few and never forgotten.
    fn forget_oldest(&mut self) {
        let warnings = self.0.iter().filter(|(_, notice)| notice.level == NoticeLevel::Warning);
        let oldest = warnings.min_by_key(|(_, notice)| notice.since).map(|(key, _)| key.clone());
        oldest.map(|key| self.0.remove(&key));
    }
}

/// How much a code matters, and its Chinese.
fn words(code: &str) -> (NoticeLevel, &'static str) {
    use NoticeLevel::{AlarmsStopped, Warning};
    match code {
        "broker_down" => (AlarmsStopped, "与网关的通信中断, 收不到现场数据, 请检查消息代理"),
        "broker_refuses" => {
            (AlarmsStopped, "消息服务器拒绝中心的订阅，收不到现场数据，请检查其权限设置")
        }
        "broker_session_lost" => (
            Warning,
            "消息服务器丢失了中心的会话，其中暂存的消息已丢，网关会补发；请让其在重启后保留会话（persistence true）",
        ),
        "broker_qos" => {
            (Warning, "消息服务器只给中心 QoS 0，断线时在途消息会丢，网关会补发；请允许 QoS 1")
        }
        "broker_dropped" => (
            Warning,
            "消息服务器在丢弃消息，网关会补发，但占用双倍流量，请按说明文件设置其队列上限：",
        ),
        "evaluator_failing" => (AlarmsStopped, "报警判定停止, 请检查状态数据库与磁盘"),
        "evaluator_behind" => (AlarmsStopped, "报警判定停滞, 新数据超过 10 秒未判定"),
        "log_failing" => (AlarmsStopped, "中心日志无法写入, 暂不确认任何数据, 请检查磁盘"),
        "log_stalled" => (AlarmsStopped, "中心接收停滞, 请检查本机磁盘与负载"),
        "self_watch_broker" => {
            (AlarmsStopped, "自检报警未通过: 停在消息代理, 报警可能收不到, 请检查消息代理及其权限")
        }
        "self_watch_log" => {
            (AlarmsStopped, "自检报警未通过: 停在中心日志, 报警可能收不到, 请检查本机磁盘")
        }
        "self_watch_evaluator" => (
            AlarmsStopped,
            "自检报警未通过: 停在报警判定, 报警可能收不到, 请检查本机负载与状态数据库",
        ),
        "self_watch_alarm" => {
            (AlarmsStopped, "自检报警未通过: 停在报警写入, 报警可能收不到, 请检查状态数据库与磁盘")
        }
        "heartbeat_failed" => (Warning, "外部值守服务未收到心跳, 可能误报中心停机, 请检查网络："),
        "store_trouble" => (Warning, "历史库暂不接收数据, 报警不受影响, 数据留在中心日志中"),
        "store_refuses" => {
            (Warning, "历史库拒绝写入，数据留在中心日志中，报警不受影响，请按提示处理：")
        }
        "store_damaged" => (
            Warning,
            "历史库有损坏, 其余数据照常可查, 请运行 davy-ingest store check 并按提示处理：",
        ),
        "key_reuse" => (Warning, "同一编号收到两个不同的数据块，可能是磁盘镜像被复制或数据被伪造"),
        "chain_conflict" => (Warning, "网关数据的先后次序与其声明不符，可能更换或恢复过磁盘"),
        "unknown_gateway" => {
            (Warning, "收到未登记网关的消息，请在中心登记该网关，或改正其配置中的名称：")
        }
        "mac" => (
            Warning,
            "以该网关名义发来的消息签名不符，请核对其配置中的密钥（--rekey 可重新发放）；密钥无误则是有人伪造，请检查消息服务器的权限",
        ),
        "frame_length" => (
            Warning,
            "以该网关名义发来的消息长度不对，有别的程序在其主题上发布，请检查消息服务器的权限",
        ),
        "topic_mismatch" | "gateway_mismatch" => (
            Warning,
            "消息用该网关的密钥签名，却自称另一网关，可能是配置被复制或密钥被盗，请为每个网关重新发放密钥",
        ),
        "frame_version" | "frame_kind" | "malformed" | "manifest_malformed" => {
            (Warning, "该网关的消息无法解读，请与中心使用同一版本的程序")
        }
        "manifest_site" => (Warning, "网关清单中的企业与注册信息不一致"),
        "hole_given_up" => (Warning, "缺失数据之后等待的数据过多, 缺失部分按丢失处理"),
        "block_unreadable" => (Warning, "中心日志中一个数据块在判定前丢失"),
        "clock_distrusted" => {
            (AlarmsStopped, "多数网关认为中心时钟偏慢，报警时间不可信，请立即检查本机对时")
        }
        "clock_differs" => {
            (Warning, "网关自身时钟与中心相差 60 秒以上，请检查两端对时，先查本机 NTP")
        }
        "two_gateways" => (
            Warning,
            "两台网关在用同一名称同时发送数据，可能是磁盘被克隆，请停用其中一台并重新发放密钥",
        ),
        "broker_drops" => (
            Warning,
            "消息代理丢弃了已接收的消息，网关会补发，数据不丢，请按说明书调整消息代理（mosquitto 设 max_queued_messages 0）",
        ),
        "muted" => (
            AlarmsStopped,
            "该网关的数据序列已被同名的另一台（或恢复的磁盘）接续，其数据入库但不参与报警判定，请停用另一台并重启该网关",
        ),
        "replaced_sends" => (
            Warning,
            "该网关已被替换却仍在发送，其数据入库但不参与报警判定，请停用，或改正替换关系",
        ),
        "log_small" => (
            Warning,
            "中心日志容量相对接入量偏小，预留空间不足两个快照周期，请调大 [log] bytes_max",
        ),
        "clock_ahead" => (Warning, "网关时钟快于中心 60 秒以上，超前的数据已隔离，请给网关校时"),
        "clock_behind" => (Warning, "网关时钟慢于中心 60 秒以上，其报警可能不响铃，请给网关校时"),
        "clock_doubted" => (Warning, "网关与中心的时钟不一致，无法判断谁对，请检查两端对时"),
        "clock_runs_ahead" => {
            (AlarmsStopped, "中心时钟快于多数网关 15 分钟以上，报警不响铃，请立即检查本机对时")
        }
        "quarantine_full" => (Warning, "该网关的隔离区已满，不再确认需隔离的数据，请处理隔离区"),
        "released_lost" => (Warning, "补定时间的数据块已不在中心日志中，未能入库"),
        "fact_dropped" => (Warning, "待生效的登记事项过多，最晚生效的一项未采用"),
        "series_unshown" => (
            Warning,
            "测点数超过实时显示上限，超出部分控制台不显示最新值，历史数据照常保存；网关在不断更换设备名，请改正其配置后重启中心",
        ),
        "series_unjudged" => (
            AlarmsStopped,
            "该网关的测点数超过报警判定上限 65536，超出部分只入库、不参与报警判定；请改正其设备名，再换名重新登记该网关",
        ),
        "gateways_unjudged" => (
            AlarmsStopped,
            "网关数超过一个中心的判定上限 16384，超出网关的数据只入库、不参与报警判定，请将部分企业移到另一中心",
        ),
        "intervals_full" => (
            AlarmsStopped,
            "该网关一次启动内的数据缺口超过 4096 处，再开新缺口的数据暂不接收、留在网关，待缺口补齐；请检查链路与消息代理",
        ),
        "held_full" => (
            Warning,
            "该网关因时钟未校准而等待的数据块超过 65536，后续数据留在网关；请给网关接入 NTP",
        ),
        "manifests_full" => (
            AlarmsStopped,
            "该网关发来的测点清单超过 4096 份，新清单不再接收，其数据留在网关、不参与报警判定；请改正其配置，再换名重新登记该网关",
        ),
        "log_full" => (
            AlarmsStopped,
            "中心日志已满，不再接收任何网关的数据，新数据不参与报警判定，数据留在网关；请修复历史库，或调大 [log] bytes_max 后重启",
        ),
        "log_crowded" => (Warning, "中心日志已用八成以上，网关补传暂缓"),
        _ => (Warning, ""),
    }
}

#[cfg(test)]
mod tests;
