//! The thread, and what becomes of usage when the store, or the writer, dies.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use livechain::ledger::{Committed, Ledger, News, PlanText, Retention, Store, StoreError, UsageBatch};

use super::parties::new_key;
use super::place::{Place, on_both};
use super::support::PATIENCE;
use super::support::postgres::Postgres;
use super::usage::{Numbers, TODAY, batch, sum, total};

/// Control's loop.
fn control() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn start(place: &Place) -> Ledger {
    Ledger::start(place.address(), Retention::default()).unwrap()
}

/// The next news, which there must be.
async fn news(ledger: &mut Ledger) -> News {
    tokio::time::timeout(PATIENCE, ledger.next()).await.expect("there is news")
}

/// Hears until what is wanted is told.
async fn hear<T>(ledger: &mut Ledger, mut wanted: impl FnMut(&News) -> Option<T>) -> T {
    loop {
        if let Some(found) = wanted(&news(ledger).await) {
            return found;
        }
    }
}

fn written(news: &News) -> Option<u64> {
    if let News::Written { sequence } = news { Some(*sequence) } else { None }
}

#[test]
fn changes_are_told_whoever_makes_them() {
    on_both(|place| {
        let mut elsewhere = place.open();
        control().block_on(async {
            let mut ledger = start(place);
            let News::Directory(first) = news(&mut ledger).await else { panic!("it begins with who may come in") };
            assert!(first.whole && first.keys.is_empty());
            // By the node itself, on behalf of its admin API.
            let made = ledger.asker().ask(|store| {
                let tenant = store.create_tenant("acme", "", 0)?.id;
                let plan = store.create_plan("pro", &PlanText::default(), 0)?.id;
                store.create_key(&new_key(1, tenant, plan), 0)
            });
            let key = made.await.unwrap();
            let mut seen = Vec::new();
            while seen.is_empty() {
                let News::Directory(change) = news(&mut ledger).await else { panic!("nothing else happens") };
                assert!(!change.whole);
                seen = change.keys;
            }
            assert_eq!(seen, std::slice::from_ref(&key));
            // By another process: within a second, of which some is the machine's.
            let began = Instant::now();
            std::thread::scope(|scope| drop(scope.spawn(|| elsewhere.revoke_key(key.id, 5).unwrap()).join().unwrap()));
            let News::Directory(change) = news(&mut ledger).await else { panic!("nothing else happens") };
            assert_eq!(change.keys[0].revoked_s, Some(5));
            assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
            let refused = ledger.asker().ask(|store| store.tenant("nobody")).await;
            assert_eq!(refused, Err(StoreError::NotFound("tenant")));
            assert_eq!(ledger.finish(PATIENCE).await, None);
        });
    });
}

#[test]
fn one_batch_is_under_way_until_it_is_written() {
    on_both(|place| {
        let numbers = &mut Numbers(1);
        let rows: Vec<_> = (0..30).map(|_| numbers.row(TODAY..TODAY + 9)).collect();
        control().block_on(async {
            let mut ledger = start(place);
            ledger.write(batch(1, 1, rows[..10].to_vec()));
            assert!(ledger.is_writing());
            // Handed in again, or another one before its time: neither counts.
            ledger.write(batch(1, 1, rows[..10].to_vec()));
            ledger.write(batch(1, 2, rows[10..20].to_vec()));
            assert_eq!(hear(&mut ledger, written).await, 1);
            assert!(!ledger.is_writing());
            ledger.write(batch(1, 2, rows[10..20].to_vec()));
            assert_eq!(hear(&mut ledger, written).await, 2);
            ledger.write(batch(1, 3, rows[20..].to_vec()));
            assert_eq!(ledger.finish(PATIENCE).await, Some(3));
        });
        assert_eq!(total(&mut place.open()), sum(&rows));
    });
}

#[test]
fn a_question_that_panics_harms_nobody_else() {
    let place = Place::sqlite();
    control().block_on(async {
        let mut ledger = start(&place);
        let asker = ledger.asker();
        let panics = asker.ask::<(), _>(|store| {
            store.create_tenant("acme", "", 0)?;
            panic!("as a test has it");
        });
        assert!(matches!(panics.await, Err(StoreError::Unavailable(_))));
        assert_eq!(asker.ask(Store::tenants).await.unwrap().len(), 1);
        ledger.write(batch(1, 1, vec![Numbers(1).row(TODAY..TODAY + 1)]));
        assert_eq!(hear(&mut ledger, written).await, 1);
        ledger.finish(PATIENCE).await;
    });
}

#[test]
fn what_nobody_waits_for_any_more_is_not_done() {
    let place = Place::sqlite();
    control().block_on(async {
        let ledger = start(&place);
        let asker = ledger.asker();
        let (go_on, gone_on) = std::sync::mpsc::channel::<()>();
        let slow = asker.ask(move |store| {
            let _ = gone_on.recv();
            store.tenants()
        });
        drop(asker.ask(|store| store.create_tenant("late", "", 0)));
        go_on.send(()).unwrap();
        assert_eq!(slow.await.unwrap().len(), 0);
        assert_eq!(asker.ask(Store::tenants).await.unwrap().len(), 0);
        ledger.finish(PATIENCE).await;
    });
}

#[test]
fn a_store_that_is_not_there_is_waited_for_and_questions_are_not() {
    let place = Place::sqlite();
    let directory = place.file().parent().unwrap().join("later");
    let address = format!("sqlite:{}", directory.join("ledger.db").display()).parse().unwrap();
    let row = Numbers(1).row(TODAY..TODAY + 1);
    control().block_on(async {
        let mut ledger = Ledger::start(address, Retention::default()).unwrap();
        ledger.write(batch(1, 1, vec![row.clone()]));
        let News::Trouble(words) = news(&mut ledger).await else { panic!("there is none") };
        assert!(words.contains("later"), "{words}");
        assert!(matches!(ledger.asker().ask(Store::tenants).await, Err(StoreError::Unavailable(_))));
        std::fs::create_dir(&directory).unwrap();
        let (mut recovered, mut wrote, mut whole) = (false, false, false);
        while !(recovered && wrote && whole) {
            match news(&mut ledger).await {
                News::Recovered => recovered = true,
                News::Written { sequence } => wrote = sequence == 1,
                News::Directory(directory) => whole = directory.whole,
                News::Trouble(words) => panic!("the same again, or: {words}"),
            }
        }
        // And gone for good: nothing keeps its end back, and it does not say that it had written.
        std::fs::remove_dir_all(&directory).unwrap();
        ledger.write(batch(1, 2, vec![row]));
        let began = Instant::now();
        assert_eq!(ledger.finish(Duration::from_millis(300)).await, None);
        assert!(began.elapsed() < Duration::from_secs(5));
    });
}

/// PostgreSQL is killed and started again while batches are written; control holds each until it is told that it is
/// written, and hands it in again under its number. Nothing is lost, and nothing counts twice.
#[test]
fn a_server_that_is_killed_in_the_middle_loses_nothing_and_counts_nothing_twice() {
    const KILLS: u64 = 8;
    let server = Arc::new(Postgres::start());
    let database = server.database();
    let place = Place::Postgres { server: Arc::clone(&server), database };
    let numbers = &mut Numbers(11);
    let (mut counted, mut sequence, mut troubles) = (Vec::new(), 0, 0);
    control().block_on(async {
        let mut ledger = start(&place);
        hear(&mut ledger, |news| matches!(news, News::Directory(_)).then_some(())).await;
        for kill in 0..KILLS {
            let strike = Duration::from_millis(numbers.below(60));
            let server = Arc::clone(&server);
            let killer = std::thread::spawn(move || {
                std::thread::sleep(strike);
                server.kill();
                server.start_again();
            });
            // As many as are written while it dies, is gone and comes back; then a few in peace.
            let (mut after, mut dead) = (0, false);
            while after < 3 {
                dead |= killer.is_finished();
                after += u64::from(dead);
                sequence += 1;
                let rows: Vec<_> = (0..50).map(|_| numbers.row(TODAY..TODAY + 9)).collect();
                counted.extend(rows.iter().cloned());
                ledger.write(batch(1, sequence, rows));
                let number = hear(&mut ledger, |news| {
                    troubles += u64::from(matches!(news, News::Trouble(_)));
                    written(news)
                });
                assert_eq!(number.await, sequence, "kill {kill}");
            }
            killer.join().unwrap();
        }
        assert_eq!(ledger.finish(PATIENCE).await, None);
    });
    assert!(troubles >= KILLS / 2, "it was killed {KILLS} times, and noticed {troubles} times");
    assert_eq!(total(&mut place.open()), sum(&counted));
    println!("{sequence} batches over {KILLS} kills of PostgreSQL, {troubles} noticed, all counted once");
}

/// A relay before a server that swallows its answer to one COMMIT of eight, and the connection with it: what was asked is
/// done, and nobody is told.
fn swallows_commits(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let commits = Arc::new(AtomicU32::new(0));
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut server) = (client.unwrap(), TcpStream::connect(server).unwrap());
            let (mut to_client, mut of_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let (commits, swallow) = (Arc::clone(&commits), Arc::new(AtomicBool::new(false)));
            let swallows = Arc::clone(&swallow);
            std::thread::spawn(move || {
                let mut bytes = [0; 16 * 1024];
                while let Ok(count @ 1..) = client.read(&mut bytes) {
                    if bytes[..count].windows(7).any(|word| word == b"COMMIT\0") {
                        let number = commits.fetch_add(1, Ordering::Relaxed) + 1;
                        // In no step with those that an attempt needs to open the store, one a migration, which are fewer.
                        swallow.store(number.wrapping_mul(0x9e37_79b9) >> 29 == 0, Ordering::Relaxed);
                    }
                    if server.write_all(&bytes[..count]).is_err() {
                        break;
                    }
                }
                let _ = server.shutdown(Shutdown::Both);
            });
            std::thread::spawn(move || {
                let mut bytes = [0; 16 * 1024];
                while let Ok(count @ 1..) = of_server.read(&mut bytes) {
                    if swallows.load(Ordering::Relaxed) || to_client.write_all(&bytes[..count]).is_err() {
                        break;
                    }
                }
                let _ = to_client.shutdown(Shutdown::Both);
                let _ = of_server.shutdown(Shutdown::Both);
            });
        }
    });
    address
}

#[test]
fn a_commit_that_nobody_was_told_of_counts_once() {
    let place = Place::postgres();
    let Place::Postgres { server, database } = &place else { unreachable!() };
    let relay = swallows_commits(server.address);
    let port = |address: SocketAddr| format!(":{}/", address.port());
    let url = server.url(database).replace(&port(server.address), &port(relay));
    let (mut store, mut counted, mut before, mut lost) = (None, Vec::new(), 0, 0);
    for sequence in 1..=20 {
        let batch = numbered(sequence);
        counted.extend(batch.rows.iter().cloned());
        let committed = (0..100).find_map(|_| {
            let tried = match store.take() {
                Some(store) => Ok(store),
                None => Store::open(&url.parse().unwrap()),
            };
            let tried = tried.and_then(|mut open| open.commit(&batch).map(|committed| (open, committed)));
            match tried {
                Ok((open, committed)) => {
                    store = Some(open);
                    Some(committed)
                }
                Err(error) => {
                    assert!(error.passes(), "{error}");
                    lost += 1;
                    None
                }
            }
        });
        before += u32::from(committed.expect("one of eight is swallowed, and not all") == Committed::Before);
    }
    assert!(before > 0, "{lost} connections were lost, none of them with a batch");
    assert_eq!(total(&mut place.open()), sum(&counted));
    println!("{lost} connections lost with a commit under way, {before} of them a batch's; all counted once");
}

const CHILD: &str = "LIVECHAIN_TEST_LEDGER_WRITER";

/// The writer that [`a_writer_that_is_killed_at_any_moment`] starts and kills: it writes the batches from a number on,
/// and says when it begins one and when it is done.
#[test]
#[ignore = "a child of another test"]
fn writer() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let (address, first) = told.rsplit_once(' ').unwrap();
    let mut store = Store::open(&address.parse().unwrap()).unwrap();
    let mut out = std::io::stdout();
    for sequence in first.parse().unwrap().. {
        writeln!(out, "\nbegins {sequence}").unwrap();
        store.commit(&numbered(sequence)).unwrap();
        writeln!(out, "\nwritten {sequence}").unwrap();
        if sequence % 20 == 0 {
            store.roll_up(&Retention::default(), TODAY + 40 * 1440).unwrap();
        }
    }
}

/// The batch of a number, always the same: as control holds it.
fn numbered(sequence: u64) -> UsageBatch {
    let numbers = &mut Numbers(sequence);
    let rows = (0..40).map(|_| numbers.row(TODAY..TODAY + 3 * 1440)).collect();
    batch(1, sequence, rows)
}

#[test]
fn a_writer_that_is_killed_at_any_moment_leaves_what_it_said_and_at_most_one_batch_more() {
    const KILLS: u32 = 30;
    let place = Place::sqlite();
    drop(place.open());
    let numbers = &mut Numbers(std::process::id().into());
    let (mut said, mut more) = (0, 0);
    for kill in 0..KILLS {
        let (begun, written) = run_writer(&place, said + 1, Duration::from_micros(numbers.below(400_000)));
        said = written.max(said);
        assert_eq!(place.rows("PRAGMA integrity_check"), "ok", "kill {kill}");
        let mut store = place.open();
        // What it began and did not live to tell of may be there: whole, or not at all.
        let expected = |last: u64| sum(&(1..=last).flat_map(|n| numbered(n).rows).collect::<Vec<_>>());
        let found = total(&mut store);
        let one_more = found == expected(said + 1);
        assert!(found == expected(said) || (one_more && begun == said + 1), "kill {kill}: {begun} begun, {said} told");
        more += u32::from(one_more);
        // Handed in again, it counts if it had not.
        let again = store.commit(&numbered(said + 1)).unwrap();
        assert_eq!(again == Committed::Before, one_more, "kill {kill}");
        said += 1;
        assert_eq!(total(&mut store), expected(said), "kill {kill}");
    }
    println!("{said} batches over {KILLS} kills of the writer; {more} were written and not told of; all counted once");
    assert!(said > KILLS.into(), "some were written in peace");
    let of_months: u64 = place.open().month_units(0).unwrap().iter().map(|month| month.units).sum();
    assert_eq!(of_months, total(&mut place.open()).units, "a commit has both or none");
}

/// Runs the writer for a while and kills it; the last batch that it began, and the last that it told of.
fn run_writer(place: &Place, first: u64, lives: Duration) -> (u64, u64) {
    let mut child = super::support::program(std::env::current_exe().unwrap());
    child.args(["--exact", "trouble::writer", "--ignored", "--nocapture"]);
    child.env(CHILD, format!("sqlite:{} {first}", place.file().display()));
    let mut child = child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let (mut begun, mut written, mut alarm) = (0, 0, None);
    for line in lines {
        let number = |word: &str| line.strip_prefix(word).and_then(|number| number.parse().ok());
        begun = number("begins ").unwrap_or(begun);
        written = number("written ").unwrap_or(written);
        // Its life begins with its first batch.
        if begun > 0 && alarm.is_none() {
            let pid = rustix::process::Pid::from_child(&child);
            alarm = Some(std::thread::spawn(move || {
                std::thread::sleep(lives);
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }));
        }
    }
    alarm.expect("it began").join().unwrap();
    child.wait().unwrap();
    (begun, written)
}

/// How long a million keys take to be read: printed, with what SQLite's own build of a test costs.
#[test]
#[ignore = "a measurement"]
fn a_million_keys_are_read() {
    const KEYS: u32 = 1_000_000;
    for place in [Place::sqlite(), Place::postgres()] {
        let mut store = place.open();
        store.create_tenant("acme", "", 0).unwrap();
        store.create_plan("pro", &PlanText::default(), 0).unwrap();
        let numbers = match &place {
            Place::Sqlite(_) => format!(
                "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {KEYS}) \
                 INSERT INTO keys SELECT n * 9223372036, randomblob(32), 1, 1, '', 'key ' || n, 0, NULL, NULL, n FROM c"
            ),
            Place::Postgres { .. } => format!(
                "INSERT INTO keys SELECT n * 9223372036, sha256(int8send(n)), 1, 1, '', 'key ' || n, 0, NULL, NULL, n \
                 FROM generate_series(1, {KEYS}::bigint) AS n"
            ),
        };
        place.raw(&numbers);
        place.raw(&format!("UPDATE revision SET revision = {KEYS}"));
        let began = Instant::now();
        let whole = store.directory(None).unwrap();
        let took = began.elapsed();
        assert_eq!(whole.keys.len(), KEYS as usize);
        let began = Instant::now();
        let some = store.directory(Some(u64::from(KEYS) - 1_000)).unwrap();
        assert_eq!(some.keys.len(), 1_000);
        println!("{}: {KEYS} keys in {took:?}, 1,000 changed ones in {:?}", place.name(), began.elapsed());
    }
}
