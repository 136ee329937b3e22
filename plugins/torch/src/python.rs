//! The Python that the plugin starts: one process for each interpreter, which has imported torch, and copies of it.

use std::collections::HashMap;
use std::env;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use clr_plugin::Error;
use serde_json::{Value, json};

use crate::channel::{self, Silence};

/// Raised with every change of what is said between the two sides.
const PROTOCOL: u64 = 1;

const SOURCE: &str = include_str!("clr_torch.py");

/// Reads the source from the socket and runs it. The current folder is no place to import from: a `random.py` there would be
/// taken for Python's own.
const START: &str = r#"
import sys
sys.path[:] = [path for path in sys.path if path]
import socket
control = socket.socket(fileno=0)
size = int.from_bytes(control.recv(4, socket.MSG_WAITALL), "little")
names = {"__name__": "clr_torch", "__file__": "clr_torch.py"}
exec(compile(control.recv(size, socket.MSG_WAITALL), "clr_torch.py", "exec"), names)
names["main"](control, int(sys.argv[1]))
"#;

/// Of what Python prints, so many bytes of the end are kept.
const KEPT_WORDS: usize = 1 << 14;

/// And so many are told of a process that has ended.
const TOLD_WORDS: usize = 600;

/// The last words of a process that has ended are there within this.
const PATIENCE: Duration = Duration::from_secs(1);

/// The path of the interpreter: what the spec says, else what the environment does.
pub fn interpreter(asked: Option<&str>) -> PathBuf {
    let named = |variable: &str| env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    match asked {
        Some(asked) => PathBuf::from(asked),
        None => named("CLR_PYTHON")
            .or_else(|| named("VIRTUAL_ENV").map(|home| home.join("bin").join("python")))
            .unwrap_or_else(|| PathBuf::from("python3")),
    }
}

/// A Python that has imported torch and waits to be copied.
#[derive(Debug)]
pub struct Python {
    path: PathBuf,
    control: Mutex<UnixStream>,
    words: Words,
}

/// A copy, which does what it is asked through a socket. It is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    python: Arc<Python>,
    number: u64,
    pub channel: UnixStream,
    words: Words,
}

impl Python {
    /// The one for this interpreter, started where there is none, or none any more.
    pub fn of(path: &Path) -> Result<Arc<Python>, Error> {
        static ALL: Mutex<Option<HashMap<PathBuf, Arc<Python>>>> = Mutex::new(None);
        let mut all = lock(&ALL);
        let all = all.get_or_insert_default();
        if let Some(python) = all.get(path) {
            // It answers, or it is gone.
            if python.order(&json!({"ask": "ping"}), &[]).is_ok() {
                return Ok(Arc::clone(python));
            }
        }
        let python = Arc::new(Python::start(path)?);
        all.insert(path.to_owned(), Arc::clone(&python));
        Ok(python)
    }

    fn start(path: &Path) -> Result<Python, Error> {
        let failed = |problem: &dyn std::fmt::Display| {
            Error::unsupported(format!(
                "cannot start Python as `{}`: {problem}; the option `python`, CLR_PYTHON or an active virtual environment names another",
                path.display()
            ))
        };
        let (mut control, theirs) = UnixStream::pair().map_err(|error| failed(&error))?;
        let (words, pipe) = Words::new().map_err(|error| failed(&error))?;
        let mut command = Command::new(path);
        command.arg("-c").arg(START).arg(std::process::id().to_string());
        // Threads are set for each trial. The libraries read these when they are loaded.
        for variable in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"] {
            command.env(variable, "1");
        }
        command.env("CUBLAS_WORKSPACE_CONFIG", ":4096:8").env("PYTHONHASHSEED", "0");
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(pipe);
        start_for_good(command).map_err(|error| failed(&error))?;
        let greeting = channel::send_source(&mut control, SOURCE).map_err(Silence::Ended);
        match greeting.and_then(|()| channel::next(&mut control)) {
            Ok(answer) if answer.message["protocol"] == PROTOCOL => {}
            Ok(answer) => return Err(failed(&format!("it begins with {}", answer.message))),
            Err(Silence::Said(failure)) => return Err(Error::unsupported(failure.message)),
            Err(Silence::Ended(error)) => {
                let words = words.line();
                return Err(failed(if words.is_empty() { &error as &dyn std::fmt::Display } else { &words }));
            }
        }
        Ok(Python { path: path.to_owned(), control: Mutex::new(control), words })
    }

    fn order(&self, order: &Value, descriptors: &[BorrowedFd<'_>]) -> Result<Value, Silence> {
        let mut control = lock(&self.control);
        channel::send(&mut control, order, &[], descriptors).map_err(Silence::Ended)?;
        channel::next(&mut control).map(|answer| answer.message)
    }

    /// A copy of the process, with this memory.
    pub fn copy(self: &Arc<Python>, memory: &impl AsFd) -> Result<Process, Error> {
        let failed = |problem: String| {
            Error::internal(format!("cannot start another Python of `{}`: {problem}", self.path.display()))
        };
        let (channel, theirs) = UnixStream::pair().map_err(|error| failed(error.to_string()))?;
        let (words, pipe) = Words::new().map_err(|error| failed(error.to_string()))?;
        let order = self.order(&json!({"ask": "fork"}), &[theirs.as_fd(), memory.as_fd(), pipe.as_fd()]);
        match order {
            Ok(answer) => {
                let number = answer["process"].as_u64().unwrap_or(0);
                Ok(Process { python: Arc::clone(self), number, channel, words })
            }
            Err(Silence::Said(failure)) => Err(failed(failure.message)),
            Err(Silence::Ended(error)) => Err(failed(format!("{error} {}", self.words.line()))),
        }
    }
}

impl Process {
    /// Ends the process. Returns how it had ended by itself, where it had.
    pub fn end(&mut self) -> Option<Ending> {
        let number = std::mem::take(&mut self.number);
        if number == 0 {
            return None;
        }
        let answer = self.python.order(&json!({"ask": "end", "process": number}), &[]).ok()?;
        let code = answer["code"].as_i64()?;
        Some(Ending { code, words: self.words.line() })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// How a process ended.
#[derive(Debug)]
pub struct Ending {
    /// Below 0: by the signal of that number.
    pub code: i64,
    /// The last that it printed.
    pub words: String,
}

/// Starts a process whose parent is a thread that lives as long as this process: a child that asks to die with its parent dies
/// with the thread that started it.
fn start_for_good(command: Command) -> std::io::Result<()> {
    type Started = std::io::Result<()>;
    static STARTER: OnceLock<Sender<(Command, Sender<Started>)>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (orders, received) = mpsc::channel::<(Command, Sender<Started>)>();
        std::thread::spawn(move || {
            let mut children = Vec::new();
            for (mut command, answer) in received {
                match command.spawn() {
                    Ok(child) => {
                        children.push(child);
                        let _ = answer.send(Ok(()));
                    }
                    Err(error) => drop(answer.send(Err(error))),
                }
            }
        });
        orders
    });
    let (answer, started) = mpsc::channel();
    let gone = || std::io::Error::other("the thread that starts processes is gone");
    starter.send((command, answer)).map_err(|_| gone())?;
    started.recv().map_err(|_| gone())?
}

/// The end of what a process prints, which goes nowhere else.
#[derive(Clone, Debug, Default)]
struct Words(Arc<(Mutex<Printed>, Condvar)>);

#[derive(Debug, Default)]
struct Printed {
    bytes: Vec<u8>,
    /// True once nobody can print more.
    is_over: bool,
}

impl Words {
    /// With the end of the pipe that is the process's.
    fn new() -> std::io::Result<(Words, std::io::PipeWriter)> {
        let (mut reader, writer) = std::io::pipe()?;
        let words = Words::default();
        let kept = words.clone();
        std::thread::Builder::new().name("clr-torch words".to_owned()).spawn(move || {
            let mut chunk = [0; 4096];
            loop {
                let count = reader.read(&mut chunk).unwrap_or(0);
                let mut printed = lock(&kept.0.0);
                printed.bytes.extend_from_slice(&chunk[..count]);
                let excess = printed.bytes.len().saturating_sub(KEPT_WORDS);
                printed.bytes.drain(..excess);
                if count == 0 {
                    printed.is_over = true;
                    kept.0.1.notify_all();
                    return;
                }
            }
        })?;
        Ok((words, writer))
    }

    /// As one line, of a process that has ended. What that has started may hold its pipe open, and is not waited for.
    fn line(&self) -> String {
        let printed = self.0.1.wait_timeout_while(lock(&self.0.0), PATIENCE, |printed| !printed.is_over);
        let (printed, _) = printed.unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&printed.bytes);
        // Python's own report of a crash begins with what has happened, and ends with a long list of libraries.
        let report = text.rfind("Fatal Python error").map(|start| &text[start..]);
        let lines = report.unwrap_or(&text).lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("Extension modules"));
        let line = lines.collect::<Vec<_>>().join(" | ");
        if report.is_some() {
            return line[..line.floor_char_boundary(TOLD_WORDS)].to_owned();
        }
        line[line.ceil_char_boundary(line.len().saturating_sub(TOLD_WORDS))..].to_owned()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
