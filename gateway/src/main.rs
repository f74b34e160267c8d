//! The program `davy-gateway`: arguments, tracing, configuration, exit code. No logic.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use gateway::bus::link::Tcp;
use gateway::commission::{check, read};
use gateway::config::Config;

const ABOUT: &str = "Davy 网关：只读采集电表和传感器，断网不丢数，送到中心。
Davy gateway: reads meters and sensors (and can do nothing but read), keeps every reading until the centre has it.";

const HELP: &str = "\
第一次用 first steps:
  1. 中心运行 at the centre:  davy-ingest gateway add <name> --site <site>   得到网关名和密钥
  2. 抄一份示例，改成现场的 copy gateway.example.toml and make it yours
  3. davy-gateway check --config gateway.toml    列出全部问题，或打印采集计划和总线占用率
  4. davy-gateway read  --config gateway.toml    采一遍，与表计显示逐项核对
  5. davy-gateway run   --config gateway.toml    运行

退出码 exit codes: 0 正常 good, 64 配置有误 configuration, 69 有设备无应答 a device is silent, 1 其他 other";

#[derive(Parser)]
#[command(name = "davy-gateway", version, about = ABOUT, after_help = HELP)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// 检查配置，列出全部问题及改法 | check the configuration: all problems, or the plan and the load of each bus
    Check {
        /// 配置文件 | configuration file
        #[arg(long, value_name = "FILE", default_value = "gateway.toml")]
        config: PathBuf,
        /// 只列出可用型号 | only list the profiles there are
        #[arg(long)]
        profiles: bool,
    },
    /// 每个设备采一遍并打印 | read every device once and print value, unit, quality and round trip
    Read {
        /// 配置文件 | configuration file
        #[arg(long, value_name = "FILE", default_value = "gateway.toml")]
        config: PathBuf,
        /// 只读这个设备 | only this device
        #[arg(long, value_name = "ID")]
        device: Option<String>,
    },
    /// 运行 | run
    Run {
        /// 配置文件 | configuration file
        #[arg(long, value_name = "FILE", default_value = "gateway.toml")]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    match dispatch(args.command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // A closed pipe (| head) is no failure worth a message.
            let _closed = writeln!(std::io::stderr(), "davy-gateway: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<u8> {
    let mut out = std::io::stdout().lock();
    let code = match command {
        Command::Check { profiles: true, .. } => {
            check::list_profiles(None, &mut out)?;
            0
        }
        Command::Check { config, .. } => check::check(&config, &mut out)?,
        Command::Read { config, device } => match Config::load(&config) {
            Ok(config) => {
                runtime()?.block_on(read::read(&config, device.as_deref(), &Tcp, &mut out))?
            }
            Err(problems) => {
                check::print_problems(&problems, &mut out)?;
                check::EXIT_CONFIG
            }
        },
        Command::Run { config } => match Config::load(&config) {
            Ok(config) => {
                init_tracing();
                if check::is_too_much(&config, &mut out)? {
                    return Ok(check::EXIT_CONFIG);
                }
                drop(out);
                runtime()?.block_on(gateway::run(config))?;
                0
            }
            Err(problems) => {
                check::print_problems(&problems, &mut out)?;
                check::EXIT_CONFIG
            }
        },
    };
    Ok(code)
}

/// One thread is enough for the buses and the uplink of a small box; the spool has a thread of its own.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")
}

fn init_tracing() {
    let builder = tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false);
    if std::io::stderr().is_terminal() {
        builder.init();
    } else {
        builder.json().init();
    }
}
