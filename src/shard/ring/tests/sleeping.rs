//! Sleeps on the ring, and the driver's own: it waits in the kernel when no task is ready, and never while one is.

use std::time::Instant;

use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::*;

#[test]
fn a_sleep_is_no_shorter_than_asked_for() {
    on_ring(RingOptions::default(), |ring| async move {
        for millis in [0, 1, 30] {
            let (start, length) = (Instant::now(), Duration::from_millis(millis));
            ring.sleep(length).await;
            assert!(start.elapsed() >= length);
        }
    });
}

#[test]
fn the_shorter_sleep_is_over_first() {
    on_ring(RingOptions::default(), |ring| async move {
        let mut long = ring.sleep(Duration::from_mins(10));
        for _ in 0..100 {
            ring.sleep(Duration::from_micros(10)).await;
        }
        assert!((&mut long).now_or_never().is_none());
    });
}

#[test]
fn a_dropped_sleep_leaves_nothing() {
    on_ring(RingOptions::default(), |ring| async move {
        let others = ring.stats().sleepers;
        for settle in [false, true] {
            let sleeps = [(); 100].map(|()| ring.sleep(Duration::from_mins(10)));
            if settle {
                pause(Duration::from_millis(1)).await;
            }
            assert_eq!(ring.stats().sleepers, others + sleeps.len());
            drop(sleeps);
            // One more is the sleep of whoever is patient.
            patiently("they are gone", async {
                while ring.stats().sleepers > others + 1 {
                    glommio::executor().yield_now().await;
                }
            })
            .await;
        }
    });
}

#[test]
fn a_shutdown_ends_every_sleep() {
    let executor = LocalExecutorBuilder::new(Placement::Unbound).make().unwrap();
    executor.run(async {
        let ring = Ring::new(RingOptions::default()).unwrap();
        let work = async {
            let driver = start(&ring);
            let sleeper = spawn(ring.sleep(Duration::from_mins(10)));
            pause(Duration::from_millis(1)).await;
            ring.shutdown();
            sleeper.await;
            driver.await;
            ring.sleep(Duration::from_mins(10)).await;
        };
        ring.watch(work).await;
        assert_eq!(ring.stats().sleepers, 0);
    });
}

/// The tasks of the chain wake each other and use no ring: the driver has to see them all the same.
#[test]
fn the_driver_does_not_sleep_while_a_task_is_ready() {
    on_ring(RingOptions::default(), |ring| async move {
        for length in [1, 2, 3, 100] {
            let (first, mut before) = oneshot::channel();
            for _ in 0..length {
                let (tell, next) = oneshot::channel();
                let told = std::mem::replace(&mut before, next);
                spawn(async move { tell.send(told.await.unwrap() + 1).unwrap() }).detach();
            }
            pause(Duration::from_millis(1)).await;
            let sleeps = ring.stats().sleeps;
            first.send(0).unwrap();
            assert_eq!(before.await.unwrap(), length);
            assert_eq!(ring.stats().sleeps, sleeps, "a chain of {length}");
        }
    });
}

#[test]
fn an_idle_driver_sleeps() {
    on_ring(RingOptions::default(), |ring| async move {
        pause(Duration::from_millis(1)).await;
        let before = ring.stats();
        pause(Duration::from_millis(50)).await;
        let after = ring.stats();
        assert!(after.enters - before.enters <= 4, "{before:?} {after:?}");
        assert!(after.sleeps > before.sleeps);
    });
}
