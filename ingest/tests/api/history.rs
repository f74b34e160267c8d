//! History queries under load: callers that go away, callers that ask for everything.

use std::time::Duration;

use crate::rig::{Options, Rig, until};

const SLOW: &str = "/api/v1/series?site=a&device=slow&quantity=p_total&from=0&to=2000";

/// Asks and goes away once the query runs.
async fn ask_and_leave(rig: &Rig, cookie: &str, running: usize) {
    tokio::select! {
        _ = rig.get(cookie, SLOW) => panic!("it ended"),
        () = until("the query runs", || rig.history.running() == running) => {}
    }
}

// A query goes on when its caller has gone, and so does its place: no number of impatient callers takes more threads.
// Others are told within the patience, and everything goes on afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn callers_that_leave_keep_their_places_until_the_query_ends() {
    let mut options = Options::default();
    options.config.query_patience = Duration::from_millis(300);
    let rig = Rig::with(options).await;
    let (one, two) = (rig.sign_in("duty").await, rig.sign_in("officer").await);
    ask_and_leave(&rig, &one, 1).await;
    ask_and_leave(&rig, &one, 2).await;
    let third = rig.get(&one, SLOW).await;
    assert_eq!((third.status, third.code()), (503, "history_busy".to_owned()));
    assert_eq!(rig.history.running(), 2, "one caller has two places of four");
    ask_and_leave(&rig, &two, 3).await;
    ask_and_leave(&rig, &two, 4).await;
    let root = rig.sign_in("root").await;
    assert_eq!(rig.get(&root, SLOW).await.status, 503);
    assert_eq!(rig.history.running(), 4);
    rig.history.let_go();
    until("the queries end", || rig.history.running() == 0).await;
    assert_eq!(rig.get(&one, SLOW).await.status, 200);
}
