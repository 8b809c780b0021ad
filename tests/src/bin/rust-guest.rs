//! A guest in Rust: what its standard library makes of threads, channels, processes, sockets, files and time.

#![forbid(unsafe_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, OnceLock, RwLock, mpsc};
use std::time::{Duration, Instant};
use std::{fs, io, panic, thread};

fn threads() {
    let sum = AtomicU64::new(0);
    let barrier = Barrier::new(8);
    let shared = RwLock::new(vec![0_u64; 8]);
    thread::scope(|scope| {
        for i in 0..8 {
            let (sum, barrier, shared) = (&sum, &barrier, &shared);
            scope.spawn(move || {
                barrier.wait();
                for k in 0..1000 {
                    sum.fetch_add(k, Ordering::Relaxed);
                    shared.write().unwrap()[i] += k;
                }
                barrier.wait();
                assert_eq!(shared.read().unwrap().iter().sum::<u64>(), 8 * 499_500);
            });
        }
    });
    assert_eq!(sum.into_inner(), 8 * 499_500);

    let (sender, receiver) = mpsc::sync_channel(3);
    let workers: Vec<_> = (0..4)
        .map(|i| {
            let sender = sender.clone();
            thread::spawn(move || (0..250).for_each(|k| sender.send(i * 250 + k).unwrap()))
        })
        .collect();
    drop(sender);
    let mut seen: Vec<u64> = receiver.iter().collect();
    workers.into_iter().for_each(|w| w.join().unwrap());
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..1000));

    let pair = Arc::new((Mutex::new(0), Condvar::new()));
    let other = pair.clone();
    let ping = thread::spawn(move || {
        for n in 0..500 {
            let mut turn = other.1.wait_while(other.0.lock().unwrap(), |t| *t != 2 * n).unwrap();
            *turn += 1;
            other.1.notify_all();
        }
    });
    for n in 0..500 {
        let mut turn = pair.1.wait_while(pair.0.lock().unwrap(), |t| *t != 2 * n + 1).unwrap();
        *turn += 1;
        pair.1.notify_all();
    }
    ping.join().unwrap();

    let main = thread::current();
    let waker = thread::spawn(move || main.unpark());
    thread::park_timeout(Duration::from_secs(10));
    waker.join().unwrap();
    static ONCE: OnceLock<u64> = OnceLock::new();
    let all: Vec<_> = (0..8).map(|i| thread::spawn(move || *ONCE.get_or_init(|| i))).collect();
    let all: Vec<u64> = all.into_iter().map(|t| t.join().unwrap()).collect();
    assert!(all.iter().all(|v| *v == all[0]));
    panic::set_hook(Box::new(|_| {}));
    assert!(thread::spawn(|| panic!("caught")).join().is_err());
    println!("ok threads");
}

fn processes() -> io::Result<()> {
    for i in 0..20 {
        assert_eq!(Command::new("sh").args(["-c", &format!("exit {i}")]).status()?.code(), Some(i));
    }
    let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdin = cat.stdin.take().expect("a pipe");
    let data: Vec<u8> = (0..2_000_000_u32).map(|i| (i.wrapping_mul(7919) >> 8) as u8).collect();
    let expected = data.clone();
    let writer = thread::spawn(move || stdin.write_all(&data));
    let mut back = Vec::new();
    cat.stdout.take().expect("a pipe").read_to_end(&mut back)?;
    writer.join().expect("the writer")?;
    assert!(back == expected && cat.wait()?.success());
    let mut sleeper = Command::new("sleep").arg("1000").spawn()?;
    assert!(sleeper.try_wait()?.is_none());
    sleeper.kill()?;
    assert_eq!(sleeper.wait()?.code(), None);
    assert_eq!(Command::new("/nonexistent/program").spawn().unwrap_err().kind(), io::ErrorKind::NotFound);
    println!("ok processes");
    Ok(())
}

fn sockets() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = thread::spawn(move || -> io::Result<()> {
        for stream in listener.incoming().take(10) {
            let mut stream = stream?;
            let mut line = String::new();
            BufReader::new(stream.try_clone()?).read_line(&mut line)?;
            stream.write_all(line.to_uppercase().as_bytes())?;
        }
        Ok(())
    });
    for i in 0..10 {
        let mut stream = TcpStream::connect(address)?;
        writeln!(stream, "line {i}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        assert_eq!(answer, format!("LINE {i}\n"));
    }
    server.join().expect("the server")?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let start = Instant::now();
    assert!(socket.recv(&mut [0; 8]).is_err());
    assert!(start.elapsed() >= Duration::from_millis(45));
    let (mut a, mut b) = UnixStream::pair()?;
    a.write_all(b"pair")?;
    drop(a);
    let mut text = String::new();
    b.read_to_string(&mut text)?;
    assert_eq!(text, "pair");
    println!("ok sockets");
    Ok(())
}

fn files() -> io::Result<()> {
    fs::create_dir_all("a/b/c")?;
    for i in 0..100 {
        fs::write(format!("a/b/c/{i}"), vec![i as u8; i * 100])?;
    }
    let total: u64 = fs::read_dir("a/b/c")?.map(|e| e.unwrap().metadata().unwrap().len()).sum();
    assert_eq!(total, 4950 * 100);
    fs::copy("a/b/c/99", "copy")?;
    assert_eq!(fs::read("copy")?, vec![99; 9900]);
    fs::rename("copy", "renamed")?;
    fs::remove_dir_all("a")?;
    assert!(fs::metadata("a").is_err());
    println!("ok files");
    Ok(())
}

fn main() -> io::Result<()> {
    let start = Instant::now();
    threads();
    processes()?;
    sockets()?;
    files()?;
    let slept = Instant::now();
    thread::sleep(Duration::from_millis(20));
    assert!(slept.elapsed() >= Duration::from_millis(20) && start.elapsed() >= slept.elapsed());
    println!("ok time");
    Ok(())
}
