//! A service on port 0 with two sites, a clock the test owns, and a client that keeps cookies as it is told.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

use ingest::account::{NewApiKey, NewUser, Role};
use ingest::alarms::{AlarmChange, DutyEvent, EvaluationBatch, Page};
use ingest::api::source::{GatewayLive, LiveQuality, LiveValue, Notice, NoticeLevel, SystemLive};
use ingest::api::{Api, ApiConfig, Beside, Hub, Parts, SetupToken, Sources};
use ingest::clock::Clock;
use ingest::completeness::{Counts, DayOfSite};
use ingest::quarantine::{Desk, Quarantine};
use ingest::registry::Registrar;
use ingest::registry::seed::Seed;
use ingest::secret::Secret;
use ingest::state::{Position, State};
use ingest::store::{HistoryAnswer, HistoryQuery, HistoryReader, StoreError, Windows};
use reqwest011::header::{COOKIE, HeaderMap, ORIGIN, SET_COOKIE};
use reqwest011::{Client, Method, Response};
use serde_json::Value as Json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) const NOW: i64 = 1_772_000_000_000;
pub(crate) const PASSWORD: &str = "lamp under ground 7";
const SITES: &str = include_str!("sites.toml");

#[derive(Debug)]
pub(crate) struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl TestClock {
    pub(crate) fn pass(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

/// What a test has set, at first one value for site `a`; a question for the system's state of a broken service panics.
#[derive(Debug)]
pub(crate) struct Running {
    system_panics: bool,
    values: Mutex<Vec<LiveValue>>,
}

impl Running {
    /// From now on these are the newest values.
    pub(crate) fn set(&self, values: Vec<LiveValue>) {
        *self.values.lock().unwrap() = values;
    }
}

impl Sources for Running {
    fn values(&self, site: &str) -> Vec<LiveValue> {
        let values = self.values.lock().unwrap();
        values.iter().filter(|value| value.site == site).cloned().collect()
    }
    fn gateway(&self, _name: &str) -> GatewayLive {
        GatewayLive { online: Some(true), ..GatewayLive::default() }
    }
    fn rule_states(&self, _site: &str) -> Vec<rules::RuleState> {
        Vec::new()
    }
    fn completeness(&self, from: i64, to: i64, wanted: &dyn Fn(&str) -> bool) -> Vec<DayOfSite> {
        let counts = Counts { expected: 200.0, good: 90, uncertain: 10, ..Counts::default() };
        let today = NOW / 86_400_000;
        let days = [today, today - 1].into_iter().filter(|day| (from..=to).contains(day));
        let sites = ["a", "b"].into_iter().filter(|site| wanted(site)).collect::<Vec<_>>();
        let of = |day| {
            let row = move |site: &&str| DayOfSite { site: (*site).to_owned(), day, counts };
            sites.iter().map(row).collect::<Vec<_>>()
        };
        days.flat_map(of).collect()
    }
    fn system(&self) -> SystemLive {
        assert!(!self.system_panics, "a handler that panics");
        let notice = |code: &str, level| Notice {
            code: code.to_owned(),
            level,
            zh: String::new(),
            en: String::new(),
            since: NOW,
        };
        let notices = vec![
            notice("broker_down", NoticeLevel::AlarmsStopped),
            notice("key_reuse", NoticeLevel::Warning),
        ];
        SystemLive { store: "embedded".to_owned(), notices, ..SystemLive::default() }
    }
}

pub(crate) fn live_value(site: &str, value: f64) -> LiveValue {
    LiveValue {
        site: site.to_owned(),
        device: "incomer".to_owned(),
        quantity: "p_total".to_owned(),
        unit: "kW".to_owned(),
        value: Some(value),
        quality: LiveQuality::Good,
        reason: None,
        t: Some(NOW),
        received_at: Some(NOW),
        period_ms: 1_000,
    }
}

/// Answers one window for `incomer`, and for `slow` once it is let; any other device's history is broken.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Queries of `slow` that run, and whether they may end.
    slow: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl History {
    pub(crate) fn running(&self) -> usize {
        self.slow.lock().unwrap().0
    }

    pub(crate) fn let_go(&self) {
        self.slow.lock().unwrap().1 = true;
        self.changed.notify_all();
    }

    fn be_slow(&self) {
        let mut slow = self.slow.lock().unwrap();
        slow.0 += 1;
        while !slow.1 {
            slow = self.changed.wait(slow).unwrap();
        }
        slow.0 -= 1;
    }
}

impl HistoryReader for History {
    fn query(&self, query: &HistoryQuery) -> Result<HistoryAnswer, StoreError> {
        if query.device == "slow" {
            self.be_slow();
        } else if query.device != "incomer" {
            let reason = "disk gone".to_owned();
            return Err(StoreError::Unavailable { store: "test", reason, pause_ms: 0 });
        }
        Ok(HistoryAnswer::Windows(Windows {
            start: query.from,
            step_ms: 1_000,
            min: vec![Some(1.0), None],
            max: vec![Some(2.0), None],
            mean: vec![Some(1.5), None],
            last: vec![Some(2.0), None],
            q: vec![Some(wire::Quality::Good), None],
            damaged: Vec::new(),
        }))
    }
}

pub(crate) struct Options {
    pub(crate) config: ApiConfig,
    pub(crate) system_panics: bool,
    pub(crate) with_users: bool,
}

impl Default for Options {
    fn default() -> Self {
        let heartbeat = Duration::from_millis(100);
        let config = ApiConfig { heartbeat, sign_ins_per_minute: 100, ..ApiConfig::default() };
        Self { config, system_panics: false, with_users: true }
    }
}

pub(crate) struct Rig {
    pub(crate) base: String,
    pub(crate) state: State,
    pub(crate) api: Arc<Api>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) sources: Arc<Running>,
    pub(crate) quarantine: Arc<Quarantine>,
    pub(crate) history: Arc<History>,
    pub(crate) client: Client,
    pub(crate) setup: Secret,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    folder: tempfile::TempDir,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::with(Options::default()).await
    }

    /// Sites `a` and `b`; users root, duty, duty2, officer, audit, grid, and one of each plant.
    pub(crate) async fn with(options: Options) -> Self {
        keep_log_lines();
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(&folder.path().join("state.db")).await.unwrap();
        state.apply_seed(&Seed::parse(SITES, Path::new(".")).unwrap(), NOW).await.unwrap();
        if options.with_users {
            add_users(&state).await;
        }
        let clock = Arc::new(TestClock(AtomicI64::new(NOW)));
        let hub = Arc::new(Hub::new(NOW));
        let sources = Arc::new(Running {
            system_panics: options.system_panics,
            values: Mutex::new(vec![live_value("a", 12.5)]),
        });
        let (token, setup) = SetupToken::draw().unwrap();
        let stop = CancellationToken::new();
        let history = Arc::new(History::default());
        let quarantine = Arc::new(Quarantine::open(folder.path(), 1 << 20).unwrap());
        let parts = Parts {
            state: state.clone(),
            quarantine: Arc::new(Desk::new(Arc::clone(&quarantine), None)),
            registrar: Arc::new(Registrar::new(state.load_registry().await.unwrap())),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            history: Arc::clone(&history) as Arc<dyn HistoryReader>,
            sources: Arc::clone(&sources) as Arc<dyn Sources>,
            rules: Arc::new(rules::Catalogue::built_in().unwrap()),
            hub: Arc::clone(&hub),
            facts_recorded: Arc::default(),
            setup: token,
            config: options.config,
        };
        let api = Api::new(parts, stop.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let tasks = TaskTracker::new();
        let page = |text: &'static str| axum::routing::get(move || async move { text });
        let beside = Beside {
            open: axum::Router::new().route("/healthz", page("ok")),
            operators: axum::Router::new().route("/metrics", page("numbers")),
        };
        let served = ingest::api::serve(listener, Arc::clone(&api), beside);
        tasks.spawn(served);
        tasks.close();
        let client = Client::builder().no_proxy().build().unwrap();
        Self {
            base,
            state,
            api,
            hub,
            clock,
            sources,
            quarantine,
            history,
            client,
            setup,
            stop,
            tasks,
            folder,
        }
    }

    /// The state database, for what only another process or a bad disk does to it.
    pub(crate) fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder.path().join("state.db")).unwrap()
    }

    /// Sends as the console's own page does: with its origin, and a cookie if there is one.
    pub(crate) async fn send(
        &self,
        cookie: &str,
        method: Method,
        path: &str,
        body: Option<Json>,
    ) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, self.base.parse().unwrap());
        if !cookie.is_empty() {
            headers.insert(COOKIE, cookie.parse().unwrap());
        }
        self.send_raw(headers, method, path, body).await
    }

    pub(crate) async fn send_raw(
        &self,
        headers: HeaderMap,
        method: Method,
        path: &str,
        body: Option<Json>,
    ) -> Answer {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        request = request.headers(headers);
        if let Some(body) = body {
            let text = body.to_string();
            request = request.header("content-type", "application/json").body(text);
        }
        Answer::of(request.send().await.unwrap()).await
    }

    pub(crate) async fn get(&self, cookie: &str, path: &str) -> Answer {
        self.send(cookie, Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, cookie: &str, path: &str, body: Json) -> Answer {
        self.send(cookie, Method::POST, path, Some(body)).await
    }

    /// Signs in and gives the cookie.
    pub(crate) async fn sign_in(&self, name: &str) -> String {
        let body = serde_json::json!({ "name": name, "password": PASSWORD });
        let answer = self.post("", "/api/v1/session", body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.cookie()
    }

    /// Raises an alarm as the evaluator would, and tells the streams.
    pub(crate) async fn raise(&self, site: &str, t: i64) -> AlarmChange {
        self.judge(transition(site, t)).await
    }

    /// Lets the evaluator decide, and tells the streams.
    pub(crate) async fn judge(&self, transition: rules::Transition) -> AlarmChange {
        let t = transition.t;
        let turn = DutyEvent::Turn {
            sample_at: t,
            decided_at: t,
            transition: Box::new(transition),
            page: Page::Paged,
            needs_ack: true,
        };
        let batch = EvaluationBatch {
            evaluator: "g".to_owned(),
            position: Position { log_id: 1, position: 1 },
            recorded_at: t,
            verdicts: Vec::new(),
            duty: vec![turn],
            snapshot: None,
        };
        let changes = self.state.apply_evaluation(batch).await.unwrap();
        self.api.announce(&changes);
        changes.into_iter().next().unwrap()
    }
}

impl Drop for Rig {
    /// The runtime waits for its blocking threads.
    fn drop(&mut self) {
        self.history.let_go();
    }
}

/// Waits until something is so, at most 20 s.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let looking = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, looking).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Everything that any test of this program has logged.
static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LINES.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// One subscriber for the whole program: one a thread would miss what other threads met first.
fn keep_log_lines() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        let lines = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
        lines.with_ansi(false).with_writer(|| Lines).init();
    });
}

/// Log lines so far.
pub(crate) fn logged() -> String {
    String::from_utf8(LINES.lock().unwrap().clone()).unwrap()
}

async fn add_users(state: &State) {
    let users = [
        ("root", Role::Administrator, None),
        ("duty", Role::Duty, None),
        ("duty2", Role::Duty, None),
        ("officer", Role::Officer, None),
        ("audit", Role::Auditor, None),
        ("grid", Role::Grid, None),
        ("plant-a", Role::Plant, Some("a")),
        ("plant-b", Role::Plant, Some("b")),
    ];
    for (name, role, site) in users {
        let new = NewUser {
            name: name.to_owned(),
            display: format!("{name} 显示"),
            role,
            site: site.map(str::to_owned),
            password: Secret::new(PASSWORD.to_owned()),
        };
        state.add_user(new, "test", NOW).await.unwrap();
    }
}

/// A key for programs.
pub(crate) async fn api_key(rig: &Rig, role: Role, site: Option<&str>) -> String {
    let new = NewApiKey { name: "program".to_owned(), role, site: site.map(str::to_owned) };
    rig.state.add_api_key(new, "test", NOW).await.unwrap().1.reveal().to_owned()
}

/// A gas alarm, with evidence that judges again to the same.
pub(crate) fn transition(site: &str, t: i64) -> rules::Transition {
    let text = TRANSITION.replace("SITE", site).replace("9999", &t.to_string());
    serde_json::from_str(&text).unwrap()
}

const TRANSITION: &str = include_str!("transition.json");

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.unwrap() }
    }

    pub(crate) fn json(&self) -> Json {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// `name=value` of the session cookie.
    pub(crate) fn cookie(&self) -> String {
        let set = self.headers[SET_COOKIE].to_str().unwrap();
        set.split(';').next().unwrap().to_owned()
    }
}
