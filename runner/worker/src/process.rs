//! A worker's process as its supervisor sees it: started, asked, watched, ended.
//!
//! The pipes do not block on this side. Whoever waits for an answer also reads stderr, so that no worker hangs on a full
//! pipe, and looks every [`TICK`] at the cancel flag, the clock, the worker's memory and whether it is still there.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clr_host::Death;
use clr_system::memory;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::frame::{Decoder, Encoder, FrameError, Kind};
use super::message::{PROTOCOL, Receiving, Reply, write_frames};
use super::tail::Tail;
use super::{Launch, strays};

/// How often a worker that computes is looked after: a Ctrl-C is passed on, a limit is noticed, within this.
const TICK: Duration = Duration::from_millis(20);

/// No look comes later than this after the one before, however busy the machine is, unless this process was stopped.
const LONGEST_TICK: Duration = Duration::from_secs(1);

/// A worker that is there says so within this, however busy the machine is.
const TIME_TO_START: Duration = Duration::from_secs(60);

/// A process that was killed is gone within this, unless it hangs in its device's driver: then it is left behind.
const TIME_TO_DIE: Duration = Duration::from_secs(10);

/// Bytes that are read at once.
const CHUNK: usize = 1 << 16;

/// A worker's process. It is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    pipes: Pipes,
    encoder: Encoder,
    decoder: Decoder,
    chunk: Vec<u8>,
}

/// The process and its three pipes.
#[derive(Debug)]
struct Pipes {
    child: Child,
    /// How it ended, once that is known.
    status: Option<ExitStatus>,
    requests: ChildStdin,
    replies: ChildStdout,
    /// None once the worker has closed it: a closed pipe is always ready.
    stderr: Option<ChildStderr>,
    tail: Tail,
    memory_limit: Option<u64>,
}

/// A request and what surrounds it.
#[derive(Debug)]
pub struct Call<'a, 'b> {
    pub request: &'a [u8],
    pub arrays: &'a [&'a [u8]],
    /// The buffers for the reply's arrays.
    pub filled: &'a mut [&'b mut [u8]],
    /// Passed on to the worker.
    pub cancel: Option<&'a AtomicBool>,
    /// How long it may take.
    pub limit: Duration,
}

/// One wait for a worker.
struct Watching {
    /// How long it has taken, the times left out in which this process was stopped (Ctrl-Z) and could not have looked.
    taken: Duration,
    limit: Duration,
    /// When it was last looked at.
    looked: Instant,
}

/// The event that ended a wait.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ready {
    /// The pipe that was waited for.
    Pipe,
    /// A tick, at which all was well.
    Tick,
}

impl Process {
    /// Starts a worker and waits until it says that it is there.
    pub fn start(launch: &Launch) -> Result<Process, Death> {
        let failed = |error: io::Error| Death::NotStarted(error.to_string());
        let pipes = Pipes::start(launch).map_err(failed)?;
        let mut process =
            Process { pipes, encoder: Encoder::default(), decoder: Decoder::default(), chunk: vec![0; CHUNK] };
        let mut watching = Watching::new(TIME_TO_START);
        let hello = process.receive(&mut [], None, &mut watching);
        match hello.map_err(|death| process.bury(death)) {
            Ok(Reply::Hello { protocol: PROTOCOL, version }) if version == env!("CARGO_PKG_VERSION") => Ok(process),
            Ok(Reply::Hello { protocol, version }) => Err(Death::NotStarted(format!(
                "{} is another clr-run: {version} with protocol {protocol} where this is {} with {PROTOCOL}",
                launch.program.display(),
                env!("CARGO_PKG_VERSION"),
            ))),
            Ok(other) => Err(Death::NotStarted(format!("it began with {other:?}"))),
            Err((death, stderr)) => Err(Death::NotStarted(if stderr.is_empty() {
                death.to_string()
            } else {
                format!("{death}; it last said: {stderr}")
            })),
        }
    }

    /// The system's number of the process.
    pub fn id(&self) -> u32 {
        self.pipes.child.id()
    }

    /// Ends it where it has more memory of its own than so many bytes, with all that it has started.
    pub fn limit_memory(&mut self, bytes: Option<u64>) {
        self.pipes.memory_limit = bytes;
    }

    /// Forgets what was printed so far.
    pub fn forget_words(&mut self) {
        self.pipes.tail.clear();
    }

    /// Asks and waits for the answer. After an error only [`Process::bury`] makes sense.
    pub fn ask(&mut self, call: Call<'_, '_>) -> Result<Reply, Death> {
        let Call { request, arrays, filled, cancel, limit } = call;
        let mut watching = Watching::new(limit);
        let pipes = &mut self.pipes;
        write_frames(&mut self.encoder, request, arrays, |frame| pipes.write(frame, &mut watching))?;
        self.receive(filled, cancel, &mut watching)
    }

    fn receive(
        &mut self,
        filled: &mut [&mut [u8]],
        mut cancel: Option<&AtomicBool>,
        watching: &mut Watching,
    ) -> Result<Reply, Death> {
        let mut receiving = Receiving::new(filled);
        loop {
            let found = self.decoder.frame().map_err(|error: FrameError| Death::Garbled(error.to_string()))?;
            if let Some((kind, payload)) = found {
                match receiving.take(kind, payload).map_err(Death::Garbled)? {
                    Some(reply) => return Ok(reply),
                    None => continue,
                }
            }
            while self.pipes.wait(false, watching)? == Ready::Tick {
                if cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
                    self.pipes.write(self.encoder.frame(Kind::Cancel, &[]), watching)?;
                    cancel = None;
                }
            }
            match self.pipes.replies.read(&mut self.chunk) {
                Ok(0) => return Err(self.pipes.gone()),
                Ok(count) => self.decoder.push(&self.chunk[..count]),
                Err(error) if is_temporary(&error) => {}
                Err(error) => return Err(Death::Garbled(error.to_string())),
            }
        }
    }

    /// Ends the process, and says how it ended and what it last printed.
    pub fn bury(&mut self, death: Death) -> (Death, String) {
        self.pipes.end();
        self.pipes.read_last_words();
        (death, self.pipes.tail.line())
    }
}

impl Pipes {
    fn start(launch: &Launch) -> io::Result<Pipes> {
        // One at a time: where pipes cannot be opened and marked close-on-exec at once (macOS), a worker that starts at the
        // same moment would inherit them and keep them open.
        let mut workers = strays::workers();
        let mut command = Command::new(&launch.program);
        command.arg0("clr-run").arg("worker").process_group(0);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        workers.add(child.id());
        drop(workers);
        let (Some(requests), Some(replies), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("a worker without pipes"));
        };
        let (stderr, tail) = (Some(stderr), Tail::default());
        // Whatever fails from here on ends the process.
        let pipes = Pipes { child, status: None, requests, replies, stderr, tail, memory_limit: None };
        if let Some(stderr) = &pipes.stderr {
            rustix::io::ioctl_fionbio(stderr, true)?;
        }
        rustix::io::ioctl_fionbio(&pipes.requests, true)?;
        rustix::io::ioctl_fionbio(&pipes.replies, true)?;
        // Larger pipes save switches between the two processes. A system that refuses is only slower.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        for pipe in [rustix::fd::AsFd::as_fd(&pipes.requests), rustix::fd::AsFd::as_fd(&pipes.replies)] {
            let _ = rustix::pipe::fcntl_setpipe_size(pipe, 1 << 18);
        }
        Ok(pipes)
    }

    fn write(&mut self, mut bytes: &[u8], watching: &mut Watching) -> Result<(), Death> {
        while !bytes.is_empty() {
            match self.requests.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait(true, watching)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // It closed the pipe: how it ended says more than this error.
                Err(_) => return Err(self.gone()),
            }
        }
        Ok(())
    }

    /// Waits for an answer, or until more can be written, for at most a tick.
    fn wait(&mut self, is_writing: bool, watching: &mut Watching) -> Result<Ready, Death> {
        let (none, reading, writing) = (PollFlags::empty(), PollFlags::IN, PollFlags::OUT);
        let mut pipes = vec![
            PollFd::new(&self.replies, if is_writing { none } else { reading }),
            PollFd::new(&self.requests, if is_writing { writing } else { none }),
        ];
        pipes.extend(self.stderr.as_ref().map(|stderr| PollFd::new(stderr, reading)));
        let tick = Timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() };
        match poll(&mut pipes, Some(&tick)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Death::Garbled(error.to_string())),
        }
        let is_ready = |index: usize| pipes.get(index).is_some_and(|pipe| !pipe.revents().is_empty());
        let (is_ready, has_printed) = (is_ready(usize::from(is_writing)), is_ready(2));
        if has_printed {
            self.read_stderr();
        }
        let since = watching.looked.elapsed();
        if since >= TICK {
            watching.looked = Instant::now();
            watching.taken += since.min(LONGEST_TICK);
            self.look(watching)?;
        }
        Ok(if is_ready { Ready::Pipe } else { Ready::Tick })
    }

    /// An error where the worker may not go on, or has died.
    fn look(&mut self, watching: &Watching) -> Result<(), Death> {
        if watching.taken > watching.limit {
            return Err(Death::Hung(watching.limit));
        }
        if let Some(limit) = self.memory_limit
            && let Some(used) = memory::bytes_with_children(self.child.id())
            && used > limit
        {
            return Err(Death::Memory { used, limit });
        }
        // A process that it started may hold the pipe open when it is gone itself. What it wrote before is read first.
        if let Some(status) = self.try_wait()
            && !is_readable(&self.replies)
        {
            return Err(death_of(status));
        }
        Ok(())
    }

    /// How the process ended, whose pipe is closed.
    fn gone(&mut self) -> Death {
        match self.wait_for_end(TIME_TO_DIE) {
            Some(status) => death_of(status),
            None => Death::Garbled("it was closed".to_owned()),
        }
    }

    fn end(&mut self) {
        if self.status.is_none() {
            self.kill_group();
            // A plugin may have put the worker into another group. An error says that it is gone already.
            let _ = self.child.kill();
            self.wait_for_end(TIME_TO_DIE);
        }
    }

    /// How the process ended, if it has. What it started in its process group ends with it.
    fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() && has_ended(&self.child) {
            // As long as nobody has waited for it, no other process and no other group can have its number.
            self.kill_group();
            self.status = self.child.try_wait().ok().flatten();
            strays::workers().remove(self.child.id());
        }
        self.status
    }

    fn kill_group(&self) {
        if let Some(group) = Pid::from_raw(self.child.id() as i32) {
            // An error says that nobody is left in it.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    fn wait_for_end(&mut self, limit: Duration) -> Option<ExitStatus> {
        let started = Instant::now();
        let mut pause = Duration::from_micros(50);
        loop {
            if let Some(status) = self.try_wait() {
                return Some(status);
            }
            if started.elapsed() > limit {
                return None;
            }
            sleep(pause);
            pause = (pause * 2).min(TICK);
        }
    }

    /// False where nothing is to be read now, or ever.
    fn read_stderr(&mut self) -> bool {
        let Some(stderr) = &mut self.stderr else { return false };
        let mut chunk = [0; 4096];
        match stderr.read(&mut chunk) {
            Ok(0) => {
                self.stderr = None;
                false
            }
            Ok(count) => {
                self.tail.push(&chunk[..count]);
                true
            }
            Err(error) => error.kind() == ErrorKind::Interrupted,
        }
    }

    fn read_last_words(&mut self) {
        // As much as a pipe holds; a process that it started may go on to print.
        for _ in 0..256 {
            if !self.read_stderr() {
                return;
            }
        }
    }
}

impl Drop for Pipes {
    fn drop(&mut self) {
        self.end();
    }
}

impl Watching {
    fn new(limit: Duration) -> Watching {
        Watching { taken: Duration::ZERO, limit, looked: Instant::now() }
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn is_readable(pipe: &ChildStdout) -> bool {
    let mut pipes = [PollFd::new(pipe, PollFlags::IN)];
    poll(&mut pipes, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|count| count > 0)
}

/// True if a process has ended, which stays to be waited for.
fn has_ended(child: &Child) -> bool {
    let Some(process) = Pid::from_raw(child.id() as i32) else { return false };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    // An error says that somebody else has waited for it.
    waitid(WaitId::Pid(process), options).map_or(true, |status| status.is_some())
}

fn death_of(status: ExitStatus) -> Death {
    match (status.signal(), status.code()) {
        (Some(signal), _) => Death::Signal(signal),
        (None, Some(code)) => Death::Exit(code),
        (None, None) => Death::Garbled("it ended without a word".to_owned()),
    }
}
