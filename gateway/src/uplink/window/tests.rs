//! The window against acks in any order.

use proptest::prelude::*;

use super::*;

#[test]
fn window_slides_from_the_oldest_unconfirmed() {
    let mut window = Window::new(3, 1000);
    for n in 0..3u16 {
        window.submit(n, 10);
        window.sent(n + 1).unwrap();
    }
    assert_eq!(window.free(), 0);
    assert_eq!((window.confirmed(2), window.confirmed(3)), (Some(1), Some(2)));
    assert_eq!(window.free(), 0, "the oldest is open");
    assert_eq!(window.confirmed(1), Some(0));
    assert_eq!(window.free(), 3);
    assert_eq!(window.confirmed(1), None);
    assert!(window.is_idle());
}

#[test]
fn bytes_close_the_window_too() {
    let mut window = Window::new(10, 100);
    window.submit('a', 60);
    assert_eq!(window.free(), 9);
    window.submit('b', 60);
    assert_eq!(window.free(), 0);
    window.sent(7).unwrap();
    assert_eq!(window.confirmed(7), Some('a'));
    assert_eq!(window.free(), 9);
}

#[test]
fn impossible_reports_are_errors() {
    let mut window: Window<u8> = Window::new(4, 100);
    assert_eq!(window.sent(1), Err(WindowError::NotSubmitted(1)));
    window.submit(1, 1);
    window.submit(2, 1);
    window.sent(1).unwrap();
    assert_eq!(window.sent(1), Err(WindowError::Reused(1)));
}

proptest! {
    #[test]
    fn everything_submitted_is_confirmed_once_whatever_the_order(
        picks in prop::collection::vec(0usize..100, 1..200)
    ) {
        let (mut window, mut next, mut id) = (Window::new(8, 1 << 20), 0u32, 0u16);
        let (mut open, mut done) = (Vec::new(), Vec::new());
        for pick in picks {
            while window.free() > 0 && open.len() < 8 {
                window.submit(next, 5);
                id = if id == 32 { 1 } else { id + 1 };
                // Four times as many ids as the window: never one that is open.
                prop_assert!(!open.contains(&id));
                window.sent(id).unwrap();
                open.push(id);
                next += 1;
            }
            let id = open.remove(pick % open.len());
            done.push(window.confirmed(id).unwrap());
        }
        done.sort_unstable();
        done.dedup();
        prop_assert_eq!(done.len() + open.len(), next as usize);
    }
}
