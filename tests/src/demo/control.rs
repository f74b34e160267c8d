//! Commands to the running demo, one a line on its standard input: switch machines, drive sensors, silence devices,
//! hold a register, cut the link. Tests and curious people use it; an unknown word prints the list.

use std::io::BufRead;

use tokio::sync::mpsc;

use super::say;
use crate::harness::proxy::Proxy;
use crate::plant::Plants;
use crate::plant::site::Site;

/// Lines that may wait.
const LINES_MAX: usize = 64;

/// What can be typed.
pub const HELP: &str = "\
  run SITE DEVICE SHARE              开停机 · run a machine at a share of its power, 0 = off
  drive SITE DEVICE CHANNEL TO PER_S 传感器走向某值 · send a sensor's channel (from 0) to a value
  silence SITE DEVICE                设备不应答 · the device answers no more
  answer SITE DEVICE                 恢复应答 · it answers again
  supply SITE on|off                 全厂停送电 · the supply of the whole plant
  hold SITE UNIT FUNCTION REG WORD   按住一个寄存器 · hold a register (hexadecimal with 0x)
  cut | mend                         断网、恢复 · the link of the gateway of the story
  sites                              列出企业和设备 · the sites and their devices";

/// One command.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Machine at a share of its rated power.
    Run(String, String, f64),
    /// Sensor channel to a value at a speed.
    Drive(String, String, usize, f64, f64),
    /// Device answers or not.
    Answer(String, String, bool),
    /// Supply of a site.
    Supply(String, bool),
    /// Unit, function, register, word.
    Hold(String, u8, u8, u16, u16),
    /// Link of the story's gateway: true = cut.
    Cut(bool),
    /// List the sites.
    Sites,
}

impl Command {
    /// Reads a line; `None` where it is no command.
    #[must_use]
    pub fn parse(line: &str) -> Option<Command> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let text = |word: &str| word.to_owned();
        Some(match words[..] {
            ["run", site, device, share] => {
                Command::Run(text(site), text(device), share.parse().ok()?)
            }
            ["drive", site, device, channel, to, per_s] => Command::Drive(
                text(site),
                text(device),
                channel.parse().ok()?,
                to.parse().ok()?,
                per_s.parse().ok()?,
            ),
            ["silence", site, device] => Command::Answer(text(site), text(device), false),
            ["answer", site, device] => Command::Answer(text(site), text(device), true),
            ["supply", site, "on"] => Command::Supply(text(site), true),
            ["supply", site, "off"] => Command::Supply(text(site), false),
            ["hold", site, unit, function, register, word] => Command::Hold(
                text(site),
                u8::try_from(number(unit)?).ok()?,
                u8::try_from(number(function)?).ok().filter(|code| (1..=4).contains(code))?,
                number(register)?,
                number(word)?,
            ),
            ["cut"] => Command::Cut(true),
            ["mend"] => Command::Cut(false),
            ["sites"] => Command::Sites,
            _ => return None,
        })
    }

    /// Does it.
    ///
    /// # Errors
    /// What is not there, in words.
    pub fn act(&self, plants: &Plants, link: &Proxy) -> Result<(), String> {
        match self {
            Command::Run(site, device, share) => with(plants, site, device)?.run(device, *share),
            Command::Drive(site, device, channel, to, per_s) => {
                with(plants, site, device)?.drive(device, *channel, *to, *per_s);
            }
            Command::Answer(site, device, answers) => {
                with(plants, site, device)?.answer(device, *answers);
            }
            Command::Supply(site, on) => of(plants, site)?.supply(*on),
            Command::Hold(site, unit, function, register, word) => {
                of(plants, site)?.hold(*unit, *function, *register, *word);
            }
            Command::Cut(true) => link.cut(),
            Command::Cut(false) => link.mend(),
            Command::Sites => list(plants),
        }
        Ok(())
    }
}

/// Carries out what is typed, for ever.
pub async fn obey(plants: &Plants, link: &Proxy) {
    let mut lines = lines();
    while let Some(line) = lines.recv().await {
        if line.trim().is_empty() {
            continue;
        }
        match Command::parse(&line).map(|command| command.act(plants, link)) {
            Some(Ok(())) => say(&format!("[ok] {}", line.trim())),
            Some(Err(absent)) => say(&format!("[no] {absent}")),
            None => say(HELP),
        }
    }
    // Started without a terminal: nothing will be typed.
    std::future::pending::<()>().await;
}

/// Lines of standard input, read by a thread that ends with it (or with the process).
fn lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(LINES_MAX);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn number(text: &str) -> Option<u16> {
    match text.strip_prefix("0x") {
        Some(digits) => u16::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn of<'a>(plants: &'a Plants, site: &str) -> Result<&'a Site, String> {
    let found = plants.sites.iter().find(|known| known.id == site);
    found.map(|found| &**found).ok_or_else(|| format!("没有企业 no site {site}"))
}

fn with<'a>(plants: &'a Plants, site: &str, device: &str) -> Result<&'a Site, String> {
    let site = of(plants, site)?;
    let known = site.devices().iter().any(|known| known.id == device);
    known.then_some(site).ok_or_else(|| format!("没有设备 no device {device} at {}", site.id))
}

fn list(plants: &Plants) {
    for site in &plants.sites {
        let devices: Vec<String> =
            site.devices().iter().map(|d| format!("{} (unit {})", d.id, d.unit)).collect();
        say(&format!("  {}: {}", site.id, devices.join(", ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_and_nonsense_is_not() {
        let hold = Command::Hold("xg-ranqi".into(), 3, 3, 0, 0x21);
        assert_eq!(Command::parse("hold xg-ranqi 3 3 0 0x21"), Some(hold));
        let drive = Command::Drive("xg-ranqi".into(), "gas-1".into(), 0, 58.0, 2.0);
        assert_eq!(Command::parse(" drive xg-ranqi gas-1 0 58 2 "), Some(drive));
        assert_eq!(Command::parse("cut"), Some(Command::Cut(true)));
        for line in ["", "run", "run a b fast", "hold a 3 6 0 1", "hold a 3 3 0 0x10000"] {
            assert_eq!(Command::parse(line), None, "{line:?}");
        }
    }

    #[tokio::test]
    async fn commands_reach_the_plants_and_say_what_is_absent() {
        let site = crate::prefecture::PLANTS[0].simulate(1);
        let plants = Plants::start(vec![site]).await.expect("served");
        let link = Proxy::start(([127, 0, 0, 1], 9).into()).await.expect("a proxy");
        let act = |line: &str| Command::parse(line).expect("a command").act(&plants, &link);
        let id = plants.sites[0].id;
        assert_eq!(act(&format!("silence {id} incomer-1")), Ok(()));
        let silent = plants.sites[0].devices().iter().any(|d| d.id == "incomer-1" && !d.answers);
        assert!(silent);
        assert!(act("run nowhere fan-1 0").is_err_and(|why| why.contains("nowhere")));
        assert!(act(&format!("run {id} nothing 0")).is_err_and(|why| why.contains("nothing")));
    }
}
