//! Our codec beside tokio-modbus: its server answers our client, for the four tables and for refusals.

use std::future::{Ready, ready};
use std::time::Duration;

use gateway::bus::frame::{Exception, Reply, Request};
use gateway::bus::link::{Framing, Link, LinkError, Tcp};
use gateway::profile::Table;
use tokio::net::TcpListener;
use tokio_modbus::prelude::{ExceptionCode, Request as Asked, Response, SlaveRequest};
use tokio_modbus::server::Service;
use tokio_modbus::server::tcp::{Server, accept_tcp_connection};
use tokio_util::task::TaskTracker;

/// Unit 1 answers; unit 2 refuses; unit 3 says nothing.
#[derive(Clone)]
struct Meter;

impl Service for Meter {
    type Request = SlaveRequest<'static>;
    type Response = Option<Response>;
    type Exception = ExceptionCode;
    type Future = Ready<Result<Self::Response, Self::Exception>>;

    fn call(&self, asked: Self::Request) -> Self::Future {
        let words = |start: u16, count: u16| (start..start + count).collect::<Vec<u16>>();
        ready(match (asked.slave, asked.request) {
            (2, _) => Err(ExceptionCode::ServerDeviceBusy),
            (3, _) => Ok(None),
            (_, Asked::ReadHoldingRegisters(a, n)) => {
                Ok(Some(Response::ReadHoldingRegisters(words(a, n))))
            }
            (_, Asked::ReadInputRegisters(a, n)) => {
                Ok(Some(Response::ReadInputRegisters(words(a, n))))
            }
            (_, Asked::ReadCoils(_, n)) => {
                Ok(Some(Response::ReadCoils((0..n).map(|i| i % 3 == 0).collect())))
            }
            (_, Asked::ReadDiscreteInputs(_, n)) => {
                Ok(Some(Response::ReadDiscreteInputs((0..n).map(|i| i % 2 == 1).collect())))
            }
            _ => Err(ExceptionCode::IllegalFunction),
        })
    }
}

async fn server(tracker: &TaskTracker) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    tracker.spawn(async move {
        let server = Server::new(listener);
        let connected = |stream, socket| async move {
            accept_tcp_connection(stream, socket, |_| Ok(Some(Meter)))
        };
        // The runtime's end ends it.
        server.serve(&connected, |error| panic!("server: {error}")).await.ok();
    });
    address
}

fn read(table: Table, start: u16, count: u16) -> Request {
    Request::Read { table, start, count }
}

#[tokio::test]
async fn the_four_tables_and_refusals_are_understood() {
    let tracker = TaskTracker::new();
    let address = server(&tracker).await;
    let limit = Duration::from_secs(10);
    let mut link = Link::open(&Tcp, &address, Framing::Tcp, limit).await.expect("connected");
    let cases = [
        (1, read(Table::Holding, 100, 3), Reply::Words(vec![100, 101, 102])),
        (1, read(Table::Input, 65_000, 125), Reply::Words((65_000..65_125).collect())),
        (1, read(Table::Coil, 0, 9), Reply::Words(vec![1, 0, 0, 1, 0, 0, 1, 0, 0])),
        (1, read(Table::Discrete, 0, 4), Reply::Words(vec![0, 1, 0, 1])),
        (2, read(Table::Holding, 0, 1), Reply::Exception(Exception(6))),
    ];
    for (unit, request, wanted) in cases {
        let (back, answered) = link.exchange(unit, request, limit).await.expect("an answer");
        assert_eq!(answered.reply, wanted, "unit {unit}, {request:?}");
        link = back;
    }
    let silent = link.exchange(3, read(Table::Holding, 0, 1), Duration::from_millis(50)).await;
    assert!(matches!(silent, Err(LinkError::Timeout(_))), "{silent:?}");
}
