//! The keys of the site file: name, meaning in Chinese and English, an example. A table; no logic.

use super::section::{Key, key};

pub(crate) const GATEWAY: Key =
    key("gateway", "本网关小节 [gateway]", "the section [gateway]", "{ name = \"…\" }");
pub(crate) const NAME: Key = key(
    "name",
    "网关名，1–64 个字母、数字、-、_，与中心登记的一致",
    "the gateway's name, 1 to 64 letters, digits, - or _, as provisioned at the centre",
    "\"gw-jinsha-01\"",
);
pub(crate) const SITE: Key = key(
    "site",
    "企业代码，与中心登记的一致",
    "the site's code, as registered at the centre",
    "\"915334210000000000\"",
);
pub(crate) const KEY: Key = key(
    "key",
    "64 位十六进制密钥，由 davy-ingest gateway add 给出",
    "the 64 hexadecimal digits that davy-ingest gateway add printed",
    "\"…\"",
);
pub(crate) const KEY_FILE: Key = key(
    "key_file",
    "存放密钥的文件（推荐，权限 600）",
    "a file that holds the key (better: mode 600)",
    "\"/etc/davy/gateway.key\"",
);
pub(crate) const SPOOL_DIR: Key = key(
    "spool_dir",
    "断网缓存目录，要在断电不丢的盘上",
    "the folder of the durable queue, on a disk that survives a power cut",
    "\"/var/lib/davy/spool\"",
);
pub(crate) const FLUSH_MS: Key = key(
    "flush_ms",
    "封块间隔，10–10000 毫秒，默认 100",
    "the time after which a block closes, 10 to 10000 ms, default 100",
    "100",
);
pub(crate) const SPOOL_MB_MAX: Key = key(
    "spool_mb_max",
    "缓存上限，16–1048576 MiB，默认 2048",
    "the bound of the queue, 16 to 1048576 MiB, default 2048",
    "2048",
);
pub(crate) const KEEP_FREE_MB: Key = key(
    "keep_free_mb",
    "磁盘须留出的空间，0–1048576 MiB，默认 256",
    "the space left free on the disk, 0 to 1048576 MiB, default 256",
    "256",
);
pub(crate) const REPLACES: Key = key(
    "replaces",
    "被本网关替换的旧网关名",
    "the name of the gateway that this one replaces",
    "\"gw-jinsha-00\"",
);
pub(crate) const PROFILES_DIR: Key = key(
    "profiles_dir",
    "现场自备型号文件的目录",
    "a folder with profiles of your own",
    "\"/etc/davy/profiles\"",
);
pub(crate) const GRACE_MS: Key = key(
    "shutdown_grace_ms",
    "停机时上送剩余数据的时间，0–60000 毫秒，默认 5000",
    "the time to send what is left at shutdown, 0 to 60000 ms, default 5000",
    "5000",
);

pub(crate) const BROKER: Key =
    key("broker", "MQTT 服务器小节 [broker]", "the section [broker]", "{ url = \"mqtt://…\" }");
pub(crate) const URL: Key = key(
    "url",
    "mqtt://主机[:1883] 或 mqtts://主机[:8883]",
    "mqtt://host[:1883] or mqtts://host[:8883]",
    "\"mqtts://davy.example.cn:8883\"",
);
pub(crate) const USER: Key = key("user", "MQTT 用户名", "the MQTT user", "\"gw-jinsha-01\"");
pub(crate) const PASSWORD: Key = key(
    "password",
    "MQTT 密码（最好用 password_file）",
    "the MQTT password (better: password_file)",
    "\"…\"",
);
pub(crate) const PASSWORD_FILE: Key = key(
    "password_file",
    "存放 MQTT 密码的文件",
    "a file that holds the MQTT password",
    "\"/etc/davy/mqtt.password\"",
);
pub(crate) const CA_FILE: Key =
    key("ca_file", "信任的 CA 证书（PEM）", "the authority to trust (PEM)", "\"/etc/davy/ca.pem\"");

pub(crate) const STATUS: Key = key(
    "status",
    "本机状态页小节 [status]",
    "the section [status]",
    "{ listen = \"127.0.0.1:9464\" }",
);
pub(crate) const LISTEN: Key = key(
    "listen",
    "本机地址 127.0.0.1:端口",
    "a loopback address 127.0.0.1:port",
    "\"127.0.0.1:9464\"",
);

pub(crate) const BUS: Key = key("bus", "总线 [[bus]]", "buses [[bus]]", "[{ … }]");
pub(crate) const BUS_NAME: Key =
    key("name", "总线名，本文件内唯一", "the bus's name, unique in this file", "\"hall-1\"");
pub(crate) const KIND: Key = key(
    "kind",
    "总线类型，目前为 modbus-tcp",
    "the kind of bus, so far modbus-tcp",
    "\"modbus-tcp\"",
);
pub(crate) const ADDRESS: Key = key("address", "主机:端口", "host:port", "\"192.168.1.10:502\"");
pub(crate) const TIMEOUT_MS: Key = key(
    "timeout_ms",
    "应答时限，20–30000 毫秒，默认 1000",
    "the time to answer, 20 to 30000 ms, default 1000",
    "1000",
);
pub(crate) const MIN_GAP_MS: Key = key(
    "min_gap_ms",
    "两次请求之间的静默，0–1000 毫秒",
    "the silence between requests, 0 to 1000 ms",
    "0",
);
pub(crate) const LINE_BAUD: Key = key(
    "line_baud",
    "TCP 转串口设备后面的串口速率，1200–921600",
    "the speed of the serial line behind a TCP converter, 1200 to 921600",
    "9600",
);

pub(crate) const DEVICE: Key =
    key("device", "设备 [[bus.device]]", "devices [[bus.device]]", "[{ … }]");
pub(crate) const ID: Key = key(
    "id",
    "设备号，全厂唯一，1–64 个字母、数字、-、_",
    "the device's id, unique in the site, 1 to 64 letters, digits, - or _",
    "\"incomer-1\"",
);
pub(crate) const UNIT: Key =
    key("unit", "Modbus 从站地址，0–255", "the Modbus unit, 0 to 255", "1");
pub(crate) const PROFILE: Key = key(
    "profile",
    "型号，见 davy-gateway check --profiles",
    "the profile, see davy-gateway check --profiles",
    "\"eastron-sdm630\"",
);
pub(crate) const ROLE: Key = key(
    "role",
    "设备用途，如 incomer、dust_fan",
    "what the device is there for, e.g. incomer, dust_fan",
    "\"incomer\"",
);
pub(crate) const CT: Key = key(
    "ct",
    "电流互感器变比，如 80 或 \"400/5\"；直接接入写 1",
    "the CT ratio, such as 80 or \"400/5\"; 1 where wired directly",
    "\"400/5\"",
);
pub(crate) const PT: Key = key(
    "pt",
    "电压互感器变比，如 \"10000/100\"；直接接入写 1",
    "the PT ratio, such as \"10000/100\"; 1 where wired directly",
    "1",
);
pub(crate) const PERIOD_MS: Key = key(
    "period_ms",
    "采集周期，类别 = 毫秒（50–86400000）",
    "poll periods, class = ms (50 to 86400000)",
    "{ fast = 1000 }",
);
pub(crate) const SKIP: Key =
    key("skip", "不采集的量", "quantities not to be read", "[\"t_7\", \"t_8\"]");
pub(crate) const MAX_REGS: Key =
    key("max_regs", "一次最多读的寄存器数，1–125", "registers per request, 1 to 125", "60");
pub(crate) const POINT: Key = key(
    "point",
    "现场测点 [[bus.device.point]]",
    "points of the site [[bus.device.point]]",
    "[{ … }]",
);
