//! The keys of a profile file: name, meaning in Chinese and English, an example. A table; no logic.

use crate::config::section::{Key, key};

pub(crate) const PROFILE: Key = key(
    "profile",
    "型号说明小节 [profile]",
    "the section [profile] that names the model",
    "{ id = \"…\" }",
);
pub(crate) const ID: Key =
    key("id", "1–64 个字母、数字、-、_", "1 to 64 letters, digits, - or _", "\"eastron-sdm630\"");
pub(crate) const VERSION: Key = key(
    "version",
    "版本号，测点含义一变就要改",
    "a version, new whenever a point changes meaning",
    "\"1.0.0\"",
);
pub(crate) const VENDOR: Key = key("vendor", "厂家", "the maker", "\"Eastron\"");
pub(crate) const MODELS: Key =
    key("models", "适用型号列表", "a list of models", "[\"SDM630-Modbus V2\"]");
pub(crate) const SOURCE: Key =
    key("source", "寄存器表的出处", "where the register map comes from", "\"manual V1.8\"");
pub(crate) const STANDING: Key = key(
    "standing",
    "official（官方）、field-checked（现场核对过）或 unofficial（非官方）之一",
    "official, field-checked or unofficial",
    "\"unofficial\"",
);
pub(crate) const NOTE: Key = key("note", "使用前须知", "what to know before using it", "\"…\"");
pub(crate) const SITE_POINTS: Key = key(
    "site_points",
    "true 表示测点由现场文件给出",
    "true when the site file gives the points",
    "true",
);
pub(crate) const SIDE: Key = key(
    "side",
    "primary（一次侧，仪表已乘变比）或 secondary（二次侧，须乘 CT/PT）",
    "primary (the meter multiplies) or secondary (multiply by CT and PT)",
    "\"secondary\"",
);
pub(crate) const LINK: Key =
    key("link", "通信习惯小节 [link]", "the section [link]", "{ max_regs = 60 }");
pub(crate) const MAX_REGS: Key =
    key("max_regs", "一次最多读的寄存器数，1–125", "registers per request, 1 to 125", "60");
pub(crate) const MIN_GAP_MS: Key = key(
    "min_gap_ms",
    "两次请求之间的静默，0–1000 毫秒",
    "silence between requests, 0 to 1000 ms",
    "20",
);
pub(crate) const TURNAROUND_MS: Key = key(
    "turnaround_ms",
    "仪表开始应答的典型时间，0–5000 毫秒",
    "typical time to begin the answer, 0 to 5000 ms",
    "20",
);
pub(crate) const FORBID: Key = key(
    "forbid",
    "禁止读取的寄存器区间 [[首, 末]]",
    "register ranges [[first, last]] never to be read",
    "[[0x60, 0xC7]]",
);
pub(crate) const WORD_ORDER: Key = key(
    "word_order",
    "big（高字在前）或 little（低字在前）",
    "big (high word first) or little (low word first)",
    "\"big\"",
);
pub(crate) const BYTE_ORDER: Key = key(
    "byte_order",
    "big（高字节在前）或 little（低字节在前）",
    "big (high byte first) or little (low byte first)",
    "\"big\"",
);
pub(crate) const PERIOD_MS: Key = key(
    "period_ms",
    "采集周期，类别 = 毫秒（50–86400000）",
    "poll periods, class = ms (50 to 86400000)",
    "{ fast = 1000, slow = 60000 }",
);
pub(crate) const POINT: Key = key("point", "测点 [[point]]", "points [[point]]", "[{ … }]");
pub(crate) const TEST: Key = key("test", "解码测试 [[test]]", "decode tests [[test]]", "[{ … }]");

pub(crate) const QUANTITY: Key = key(
    "quantity",
    "词表中的量名，如 u_a、p_total、gas_lel",
    "a name of the vocabulary such as u_a, p_total, gas_lel",
    "\"u_a\"",
);
pub(crate) const TABLE: Key = key(
    "table",
    "holding（功能码3）、input（4）、coil（1）或 discrete（2）",
    "holding (function 3), input (4), coil (1) or discrete (2)",
    "\"holding\"",
);
pub(crate) const REG: Key = key(
    "reg",
    "报文中的寄存器地址，从 0 起，0–65535",
    "the register address on the wire, from 0, 0 to 65535",
    "0x0000",
);
pub(crate) const REF: Key = key(
    "ref",
    "说明书编号：40001 起为保持，30001 起为输入，10001 起为离散，1 起为线圈",
    "the manual's number: 40001… holding, 30001… input, 10001… discrete, 1… coil",
    "40001",
);
pub(crate) const TYPE: Key = key(
    "type",
    "u16、i16、u32、i32、u64、i64、f32 或 bits 之一",
    "u16, i16, u32, i32, u64, i64, f32 or bits",
    "\"f32\"",
);
pub(crate) const BIT: Key =
    key("bit", "bits 的位号，0 为最低位，0–15", "the bit of type bits, 0 = lowest, 0 to 15", "0");
pub(crate) const SCALE: Key = key(
    "scale",
    "倍率：寄存器数 × scale = 以 unit 为单位的值，正的十进制数",
    "a positive decimal: register × scale = value in unit",
    "0.1",
);
pub(crate) const UNIT: Key = key(
    "unit",
    "仪表给出的单位，须能换算为该量的标准单位",
    "the meter's unit, convertible to the quantity's own",
    "\"W\"",
);
pub(crate) const CLASS: Key =
    key("class", "采集类别，[period_ms] 中的一个", "a poll class of [period_ms]", "\"fast\"");
pub(crate) const VALID: Key = key(
    "valid",
    "量程 [下限, 上限]，以 unit 为单位；超出记为量程端点、存疑",
    "the range [low, high] in unit; beyond it: the range's end, uncertain",
    "[0, 500]",
);
pub(crate) const INVALID: Key = key(
    "invalid",
    "表示“无数据”的寄存器原始值列表",
    "raw register values that mean no value",
    "[0x8000]",
);
pub(crate) const CODE: Key = key(
    "code",
    "特殊编码，目前只有 4q_fp_pf",
    "a special encoding, so far 4q_fp_pf",
    "\"4q_fp_pf\"",
);
pub(crate) const GROUP: Key =
    key("group", "须在同一次请求中读取的一组", "a group read by one request", "\"gas\"");
pub(crate) const NO_MERGE: Key =
    key("no_merge", "true 表示单独读取", "true to read it alone", "true");
pub(crate) const GOVERNS: Key =
    key("governs", "此状态字管辖的量", "the quantities this status word governs", "[\"gas_lel\"]");
pub(crate) const OTHERWISE: Key =
    key("otherwise", "不匹配任何规则时的数值", "the value when no rule matches", "0");
pub(crate) const WHEN: Key = key(
    "when",
    "状态字规则列表",
    "rules of the status word",
    "[{ equals = 0, mark = \"warm-up\" }]",
);
pub(crate) const MASK: Key = key("mask", "看哪些位", "the bits looked at", "0x000F");
pub(crate) const EQUALS: Key = key("equals", "这些位应等于", "what they must equal", "0");
pub(crate) const ANY: Key =
    key("any", "true 表示任一位为 1 即匹配", "true to match when any of them is set", "true");
pub(crate) const VALUE: Key = key("value", "数值", "a number", "5");
pub(crate) const MARK: Key = key(
    "mark",
    "warm-up、calibration、inhibited、simulated、fault、over-range 或 void 之一",
    "warm-up, calibration, inhibited, simulated, fault, over-range or void",
    "\"warm-up\"",
);

pub(crate) const NAME: Key = key("name", "测试名称", "the test's name", "\"phase voltages\"");
pub(crate) const WORDS: Key = key(
    "words",
    "十六进制寄存器值，四位一组",
    "registers in hexadecimal, four digits each",
    "\"4366 3333\"",
);
pub(crate) const CT: Key = key(
    "ct",
    "电流互感器变比，如 80 或 \"400/5\"",
    "the CT ratio, such as 80 or \"400/5\"",
    "\"400/5\"",
);
pub(crate) const PT: Key = key(
    "pt",
    "电压互感器变比，如 1 或 \"10000/100\"",
    "the PT ratio, such as 1 or \"10000/100\"",
    "1",
);
pub(crate) const EXPECT: Key =
    key("expect", "期望值列表", "what to expect", "[{ quantity = \"u_a\", value = 230.2 }]");
