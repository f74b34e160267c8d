//! What happens in the demo, and when. Delays too long for three minutes are overridden in the registry's seed, where
//! the console shows them as overridden.

use std::time::Duration;

use crate::harness::proxy::Proxy;
use crate::plant::Plants;
use crate::plant::site::Site;
use crate::prefecture::{DUST_STORY, GAS_STORY, LINK_STORY, ORDER_STORY};

/// Overrides of the demo's seed, to stand right after the site they belong to.
#[must_use]
pub fn overrides(site: &str) -> &'static str {
    match site {
        ORDER_STORY => {
            "[[site.override]]\nrule = \"R01a\"\nparameter = \"on\"\nvalue = 60\n\n\
             [[site.override]]\nrule = \"R01a\"\nparameter = \"off\"\nvalue = 60\n\n\
             [[site.fact]]\nid = \"demo-order-1\"\nkind = \"reg_state\"\nstate = \"suspended\"\n\
             document = \"示例应急令〔2026〕1号\"\nbase_kw = 85\nvalid_from = \"2026-01-01T08:00:00+08:00\"\n\n"
        }
        DUST_STORY => "[[site.override]]\nrule = \"R15\"\nparameter = \"on\"\nvalue = 15\n\n",
        LINK_STORY => {
            "[[site.override]]\nrule = \"R41g\"\nparameter = \"silence\"\nvalue = 60\n\n\
             [[site.override]]\nrule = \"R41g\"\nparameter = \"silence_long\"\nvalue = 70\n\n"
        }
        _ => "",
    }
}

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
struct Scene {
    at_s: u64,
    zh: &'static str,
    en: &'static str,
    act: Act,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Run(&'static str, &'static str, f64),
    Gas(f64, f64),
    Cut(bool),
}

const SCENES: [Scene; 9] = [
    Scene {
        at_s: 10,
        zh: "停产令下的羊拉三号铜矿开动了提升机",
        en: "the mine under a stop order starts its hoist",
        act: Act::Run(ORDER_STORY, "hoist-1", 1.0),
    },
    Scene {
        at_s: 35,
        zh: "塔城家具厂除尘风机停了，生产线还在运行",
        en: "the furniture works' dust fan stops while its line runs",
        act: Act::Run(DUST_STORY, "dust-fan-1", 0.0),
    },
    Scene {
        at_s: 60,
        zh: "虎跳峡油库网关断网",
        en: "the oil depot's gateway loses its link",
        act: Act::Cut(true),
    },
    Scene {
        at_s: 75,
        zh: "燃气储配站可燃气体浓度上升，将越过 25 与 50 %LEL",
        en: "gas rises at the gas storage, past 25 and 50 %LEL",
        act: Act::Gas(58.0, 2.0),
    },
    Scene {
        at_s: 125, zh: "燃气泄漏得到控制", en: "the leak is stopped", act: Act::Gas(2.0, 3.0)
    },
    Scene {
        at_s: 150,
        zh: "网关恢复联网，补传断网期间的数据",
        en: "the gateway's link is back; it sends its backlog",
        act: Act::Cut(false),
    },
    Scene {
        at_s: 170,
        zh: "除尘风机恢复运行",
        en: "the dust fan runs again",
        act: Act::Run(DUST_STORY, "dust-fan-1", 1.0),
    },
    Scene {
        at_s: 180,
        zh: "提升机停下",
        en: "the hoist stops",
        act: Act::Run(ORDER_STORY, "hoist-1", 0.0),
    },
    Scene {
        at_s: 300,
        zh: "故事讲完，工厂继续运行；按 Ctrl-C 结束",
        en: "the story is told; the plants go on, Ctrl-C ends",
        act: Act::Gas(1.5, 1.0),
    },
];

/// Plays the story once; `link` is the link of the gateway of [`LINK_STORY`].
pub async fn play(plants: &Plants, link: &Proxy) {
    let started = tokio::time::Instant::now();
    for scene in SCENES {
        tokio::time::sleep_until(started + Duration::from_secs(scene.at_s)).await;
        crate::demo::say(&format!("[{:>3} s] {} · {}", scene.at_s, scene.zh, scene.en));
        match scene.act {
            Act::Run(site, device, share) => of(plants, site).run(device, share),
            Act::Gas(wanted, per_s) => of(plants, GAS_STORY).drive("gas-1", 0, wanted, per_s),
            Act::Cut(true) => link.cut(),
            Act::Cut(false) => link.mend(),
        }
    }
}

fn of<'a>(plants: &'a Plants, site: &str) -> &'a Site {
    let found = plants.sites.iter().find(|s| s.id == site);
    found.expect("the story names sites of the prefecture")
}

/// The site whose link the story cuts.
#[must_use]
pub fn cut_site() -> &'static str {
    LINK_STORY
}
