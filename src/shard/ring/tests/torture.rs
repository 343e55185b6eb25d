//! Everything at once, at random, every byte accounted for: `RING_SEED` repeats a run, `RING_ROUNDS` lengthens it.

use std::cell::Cell;

use futures_util::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// What came of one connection's two ends.
#[derive(Default)]
struct Tally {
    whole: Cell<usize>,
    cut: Cell<usize>,
    bytes: Cell<usize>,
}

/// Writes the pattern in pieces of odd sizes by all methods; may vanish in the middle, by drop or by reset.
async fn write_some(mut stream: Stream, len: usize, seed: u64, may_vanish: bool) {
    let mut random = Random(seed | 1);
    let mut sent = 0;
    while sent < len {
        let most = if random.chance(20) { 1 } else { 1 + random.below(60_000) };
        let piece = pattern(sent, most.min(len - sent));
        sent += piece.len();
        if may_vanish && random.chance(2) {
            return vanish(stream, piece, &mut random).await;
        }
        let result = match random.below(3) {
            0 => stream.write_all_owned(piece).await.0,
            1 => stream.send(piece).await,
            _ => stream.write_all(&piece).await,
        };
        if result.is_err() {
            return; // the reader has gone
        }
        if random.chance(10) {
            pause(Duration::from_micros(random.below(2_000) as u64)).await;
        }
    }
    let _ = stream.close().await;
    // Waits for the reader's end, so that a close with unread bytes does not reset what is on its way.
    stream.closed_or_readable().await;
}

async fn vanish(mut stream: Stream, piece: Vec<u8>, random: &mut Random) {
    if random.chance(30) {
        // SAFETY: the stream keeps the descriptor open.
        let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(stream.raw_fd()) };
        SockRef::from(&fd).set_linger(Some(Duration::ZERO)).unwrap();
    }
    if random.chance(50) {
        let mut sending = Box::pin(stream.write_all_owned(piece));
        let _ = futures_util::poll!(&mut sending);
        if random.chance(50) {
            glommio::executor().yield_now().await;
        }
    } else {
        let _ = futures_util::poll!(Box::pin(stream.write(&piece)));
    }
}

/// Reads and checks, at its own pace; may leave in the middle.
async fn read_some(mut stream: Stream, seed: u64, may_vanish: bool, tally: Rc<Tally>, len: usize) {
    let mut random = Random(seed | 1);
    let slow = random.chance(30);
    let mut got = 0;
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        let max = if random.chance(10) { 1 } else { 1 + random.below(80_000) };
        let result = match random.below(3) {
            0 => stream.read_into(&mut buffer, max).await,
            1 => {
                buffer.resize(max, 0);
                let result = stream.read(&mut buffer).await;
                buffer.truncate(*result.as_ref().unwrap_or(&0));
                result
            }
            _ => read_in_place(&mut stream, &mut buffer, max).await,
        };
        let Ok(count) = result else { break };
        assert_eq!(count, buffer.len());
        assert_pattern(&buffer, got);
        got += count;
        if count == 0 || (may_vanish && random.chance(1)) {
            break;
        }
        if slow {
            pause(Duration::from_micros(random.below(3_000) as u64)).await;
        }
    }
    assert!(got <= len, "more bytes than were sent");
    let tallied = if got == len { &tally.whole } else { &tally.cut };
    tallied.set(tallied.get() + 1);
    tally.bytes.set(tally.bytes.get() + got);
    assert!(may_vanish || got == len, "an undisturbed connection brought {got} of {len} bytes");
}

async fn read_in_place(stream: &mut Stream, buffer: &mut Vec<u8>, max: usize) -> io::Result<usize> {
    let look = |bytes: &[u8]| {
        let count = bytes.len().min(max);
        buffer.extend_from_slice(&bytes[..count]);
        (count, count)
    };
    stream.read_with(look).await
}

async fn one_connection(ring: Ring, address: SocketAddr, seed: u64, len_max: usize, tally: Rc<Tally>) {
    let mut random = Random(seed | 1);
    let len = [0, 1, 500, 20_000, 400_000, 2_000_000][random.below(6)].min(len_max);
    let disturbed = random.chance(50);
    if random.chance(10) {
        // An attempt that is given up at once, or a turn later.
        let options = ConnectOptions::default();
        let mut connecting = Box::pin(ring.connect(address, &options));
        let _ = futures_util::poll!(&mut connecting);
        if random.chance(50) {
            glommio::executor().yield_now().await;
        }
        drop(connecting);
    }
    let (one, other) = pair(&ring).await;
    let (writer, reader) = if random.chance(50) { (one, other) } else { (other, one) };
    let writing = spawn(write_some(writer, len, random.next(), disturbed));
    let reading = read_some(reader, random.next(), disturbed, tally, len);
    reading.await;
    writing.await;
}

fn torture(options: RingOptions, len_max: usize) {
    let rounds = std::env::var("RING_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(4);
    let (mut random, seed) = Random::seeded();
    on_ring_within(PATIENCE * rounds, options, |ring| async move {
        let tally = Rc::new(Tally::default());
        let (fd, address) = listening();
        let given_up = ring.listen(fd); // accepts what nobody asks for
        for _ in 0..rounds {
            let all = (0..40).map(|_| {
                let (ring, tally) = (ring.clone(), Rc::clone(&tally));
                spawn(one_connection(ring, address, random.next(), len_max, tally))
            });
            for (index, one) in all.collect::<Vec<_>>().into_iter().enumerate() {
                patiently(&format!("connection {index} of seed {seed}"), one).await;
            }
        }
        let (whole, cut) = (tally.whole.get(), tally.cut.get());
        assert_eq!(whole + cut, 40 * rounds as usize, "seed {seed}");
        drop(given_up);
        eprintln!("{whole} whole, {cut} cut, {} bytes, {:?}", tally.bytes.get(), ring.stats());
    });
}

#[test]
fn torture_with_the_usual_sizes() {
    torture(RingOptions::default(), 2_000_000);
}

#[test]
fn torture_with_few_small_buffers_and_short_queues() {
    let options = RingOptions {
        submissions: 8,
        completions: 32,
        buffers: 16,
        buffer_bytes: 700,
        completions_per_turn: 5,
        spin: Duration::from_micros(5),
        mask: Features::FLOOR,
    };
    torture(options, 200_000);
}
