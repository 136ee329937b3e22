//! The suite finds what it is for: a tiny plugin passes, and with each single fault fails the check that names it.

use std::sync::{Mutex, OnceLock, PoisonError};

use clr_conformance::{DataSize, Outcome};
use clr_plugin::{
    Augment, Dataset, Description, Error, Evaluate, Footprint, Lane, Model, Optimizer, Plugin, Role, Session,
    SessionConfig, Split, StepTable, Tensor, entry,
};

const NONE: u32 = 0;
const LOOKS_AT_NEIGHBOURS: u32 = 1;
const DEPENDS_ON_CALLS: u32 = 2;
const DEPENDS_ON_THREADS: u32 = 3;
const RESET_KEEPS_WEIGHT: u32 = 4;
const EVALUATION_TRAINS: u32 = 5;
const NAN_IS_AN_ERROR: u32 = 7;
const FORGETS_STATE: u32 = 8;
const TAKES_ANY_OPTION: u32 = 9;
const IGNORES_EPOCHS_LANE: u32 = 10;
const PANICS: u32 = 11;
const TWO_TENSORS_OF_ONE_NAME: u32 = 12;
const SILENT_REFUSAL: u32 = 13;
const FAILED_RESET_CHANGES: u32 = 14;
const ROUNDS_DOWN: u32 = 15;
const FLUSHES_SUBNORMALS: u32 = 16;
const HANDLES_A_SIGNAL: u32 = 17;
const BLOCKS_A_SIGNAL: u32 = 18;
const CHANGES_THE_LOCALE: u32 = 19;
const THREAD_ROUNDS_DOWN: u32 = 20;

/// One weight that goes toward the mean of the pixels it sees.
struct Tiny<const FAULT: u32>;

struct TinySession<const FAULT: u32> {
    lanes: Vec<TinyLane>,
    thread_count: usize,
}

struct TinyLane {
    weight: f32,
    velocity: f32,
    data_seed: u64,
}

impl<const FAULT: u32> entry::Exported for Tiny<FAULT> {
    fn described() -> &'static entry::Described {
        // One for all faults: they describe themselves alike.
        static DESCRIBED: OnceLock<entry::Described> = OnceLock::new();
        DESCRIBED.get_or_init(|| entry::Described::new(Tiny::<NONE>::description()))
    }
}

fn parse_lane<const FAULT: u32>(lane: &Lane<'_>) -> Result<TinyLane, Error> {
    if lane.options != "{\"optimizer\":\"momentum\"}" && FAULT != TAKES_ANY_OPTION {
        return Err(Error::invalid(if FAULT == SILENT_REFUSAL { "" } else { "no such optimizer" }));
    }
    Ok(TinyLane { weight: lane.init_seed as f32 / 100.0, velocity: 0.0, data_seed: lane.data_seed })
}

fn check<const FAULT: u32>(config: &SessionConfig<'_>) -> Result<(), Error> {
    let options = ["{}", "{\"precision\":\"f32\"}"];
    if config.device != "cpu" || (!options.contains(&config.options) && FAULT != TAKES_ANY_OPTION) {
        return Err(Error::invalid("no such option or device"));
    }
    config.lanes.iter().try_for_each(|lane| parse_lane::<FAULT>(lane).map(|_| ()))
}

impl<const FAULT: u32> Plugin for Tiny<FAULT> {
    type Session = TinySession<FAULT>;

    fn description() -> Description {
        Description {
            name: "tiny",
            version: "1",
            numerics_revision: 1,
            devices: vec!["cpu"],
            models: vec![Model {
                name: "tiny",
                options_schema: "{}".to_owned(),
                defaults: "{}".to_owned(),
                hypers: vec!["lr"],
                metrics: vec!["loss", "accuracy"],
            }],
            optimizers: vec![Optimizer { name: "momentum", options_schema: "{}".to_owned(), hypers: vec!["lr"] }],
        }
    }

    fn footprint(config: &SessionConfig<'_>) -> Result<Footprint, Error> {
        check::<FAULT>(config)?;
        Ok(Footprint { bytes_shared: 0, bytes_per_lane: 8, numerics: "cpu".to_owned() })
    }

    fn session(config: &SessionConfig<'_>) -> Result<TinySession<FAULT>, Error> {
        check::<FAULT>(config)?;
        if FAULT == THREAD_ROUNDS_DOWN {
            let (ready, is_ready) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                harm::set_float_control(0x3F80);
                let _ = ready.send(());
                loop {
                    std::thread::park();
                }
            });
            let _ = is_ready.recv();
        }
        Ok(TinySession {
            lanes: config.lanes.iter().map(parse_lane::<FAULT>).collect::<Result<_, _>>()?,
            thread_count: config.thread_count,
        })
    }
}

fn mean_pixel(
    dataset: &Dataset<'_>,
    split: Split,
    samples: &[u32],
    augment: Option<Augment<'_>>,
) -> Result<f32, Error> {
    let mut images = vec![0.0; samples.len() * dataset.input_shape().iter().product::<usize>()];
    dataset.fill_batch(split, samples, augment, &mut images, &mut vec![0; samples.len()])?;
    Ok(images.iter().sum::<f32>() / images.len() as f32)
}

impl<const FAULT: u32> Session for TinySession<FAULT> {
    fn step(&mut self, table: &mut StepTable<'_>) -> Result<(), Error> {
        match FAULT {
            ROUNDS_DOWN => harm::set_float_control(0x3F80),
            FLUSHES_SUBNORMALS => harm::set_float_control(0x9FC0),
            HANDLES_A_SIGNAL => harm::handle(true),
            BLOCKS_A_SIGNAL => harm::block(true),
            CHANGES_THE_LOCALE => harm::set_locale(c"C.UTF-8"),
            _ => {}
        }
        let dataset = table.dataset();
        let others: f32 = self.lanes.iter().map(|lane| lane.weight).sum();
        if FAULT == DEPENDS_ON_CALLS {
            self.lanes.iter_mut().for_each(|lane| lane.velocity *= 0.5);
        }
        for mut cursor in table.lanes() {
            let lane = &mut self.lanes[cursor.lane()];
            while let Some(row) = cursor.next_row() {
                if FAULT == PANICS && row.step == 3 {
                    panic!("step three is too much");
                }
                if FAULT == NAN_IS_AN_ERROR && row.hypers[0].is_nan() {
                    return Err(Error::invalid("the learning rate is not a number"));
                }
                let zeros = vec![0; row.epochs.len()];
                let epochs = if FAULT == IGNORES_EPOCHS_LANE && cursor.lane() == 1 { &zeros } else { row.epochs };
                let augment = Augment { data_seed: lane.data_seed, epochs };
                let mut target = mean_pixel(dataset, Split::Train, row.samples, Some(augment))?;
                match FAULT {
                    LOOKS_AT_NEIGHBOURS => target += others,
                    DEPENDS_ON_THREADS => target += self.thread_count as f32,
                    _ => {}
                }
                let gradient = lane.weight - target;
                let loss = 0.5 * gradient * gradient;
                lane.velocity = 0.9 * lane.velocity + gradient;
                lane.weight -= row.hypers[0] * lane.velocity;
                cursor.finish_row(&[loss, 0.5]);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, evaluate: &mut Evaluate<'_>) -> Result<(), Error> {
        let samples: Vec<u32> = (evaluate.first..evaluate.first + evaluate.count).map(|sample| sample as u32).collect();
        let target = mean_pixel(evaluate.dataset, evaluate.split, &samples, None)?;
        for lane in evaluate.active_lanes() {
            let distance = self.lanes[lane].weight - target;
            evaluate.set(lane, &[0.5 * distance * distance, 0.5]);
            if FAULT == EVALUATION_TRAINS {
                self.lanes[lane].velocity += 1e-3;
            }
        }
        Ok(())
    }

    fn reset_lane(&mut self, lane: usize, trial: &Lane<'_>, _dataset: &Dataset<'_>) -> Result<(), Error> {
        if FAULT == FAILED_RESET_CHANGES {
            self.lanes[lane].velocity = 0.0;
        }
        let fresh = parse_lane::<FAULT>(trial)?;
        let old = std::mem::replace(&mut self.lanes[lane], fresh);
        if FAULT == RESET_KEEPS_WEIGHT {
            self.lanes[lane].weight = old.weight;
        }
        Ok(())
    }

    fn tensors(&self, _lane: usize) -> Vec<Tensor> {
        let tensor = |name: &str, role| Tensor { name: name.to_owned(), role, shape: vec![] };
        let second = if FAULT == TWO_TENSORS_OF_ONE_NAME { "w" } else { "w.velocity" };
        let mut tensors = vec![tensor("w", Role::Weight), tensor(second, Role::OptimizerState)];
        if FAULT == FORGETS_STATE {
            tensors.truncate(1);
        }
        tensors
    }

    fn save(&mut self, lane: usize, tensor: usize, values: &mut [f32]) -> Result<(), Error> {
        values[0] = if tensor == 0 { self.lanes[lane].weight } else { self.lanes[lane].velocity };
        Ok(())
    }

    fn load(&mut self, lane: usize, tensor: usize, values: &[f32]) -> Result<(), Error> {
        let lane = &mut self.lanes[lane];
        *(if tensor == 0 { &mut lane.weight } else { &mut lane.velocity }) = values[0];
        Ok(())
    }
}

/// The harm that a plugin can do to the process and to the thread that it is called in.
#[allow(unsafe_code)]
mod harm {
    use std::ffi::CStr;

    #[cfg(target_arch = "x86_64")]
    pub fn set_float_control(mxcsr: u32) {
        // SAFETY: none. The compiler may assume that nobody does this, which is the fault.
        unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const mxcsr, options(nostack, preserves_flags)) };
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub fn set_float_control(_mxcsr: u32) {}

    /// SIGUSR2 is ignored, or again as in the beginning.
    pub fn handle(is_handled: bool) {
        // SAFETY: neither of these runs any code of ours.
        unsafe { libc::signal(libc::SIGUSR2, if is_handled { libc::SIG_IGN } else { libc::SIG_DFL }) };
    }

    /// This thread no longer takes SIGUSR1, or does again.
    pub fn block(is_blocked: bool) {
        let how = if is_blocked { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK };
        // SAFETY: the set is initialised before it is used.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGUSR1);
            libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut());
        }
    }

    pub fn set_locale(name: &CStr) {
        // SAFETY: nothing in this process reads the locale meanwhile, but the suite, which does that in the same thread.
        unsafe { libc::setlocale(libc::LC_ALL, name.as_ptr()) };
    }
}

/// The names of the checks that a plugin with the fault fails.
fn failed<const FAULT: u32>() -> Vec<String> {
    report::<FAULT>().0
}

/// The names of the checks that a plugin with the fault fails, and the report.
fn report<const FAULT: u32>() -> (Vec<String>, String) {
    // Some faults change the whole process, which others would be blamed for.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let size = DataSize { height: 5, width: 4, channels: 2, ..DataSize::default() };
    let report = clr_conformance::run(&entry::api::<Tiny<FAULT>>(), &size);
    println!("{report}");
    let failed = report.checks.iter().filter(|check| matches!(check.outcome, Outcome::Failed(_)));
    let failed = failed.map(|check| check.name.clone()).collect();
    harm::handle(false);
    harm::block(false);
    harm::set_locale(c"C");
    (failed, report.to_string())
}

#[track_caller]
fn check_left_changed<const FAULT: u32>(words: &str) {
    let (failed, report) = report::<FAULT>();
    assert!(failed.contains(&"tiny: trials alone".to_owned()), "caught by {failed:?}");
    let expected = format!("tiny: trials alone: session_step left what is not its own changed: {words}");
    assert!(report.contains(&expected), "no `{expected}` in {report}");
}

#[test]
fn what_a_call_leaves_changed_for_others_is_caught_and_named() {
    if cfg!(target_arch = "x86_64") {
        check_left_changed::<ROUNDS_DOWN>("it rounds down");
        check_left_changed::<FLUSHES_SUBNORMALS>("subnormal results count as zero, subnormal operands count as zero");
    }
    check_left_changed::<HANDLES_A_SIGNAL>(&format!("signal {} has another handler", libc::SIGUSR2));
    check_left_changed::<BLOCKS_A_SIGNAL>(&format!("the signals [{}] are blocked, and were []", libc::SIGUSR1));
    if cfg!(target_os = "linux") {
        check_left_changed::<CHANGES_THE_LOCALE>("the locale is `C.UTF-8`, and was `C`");
    }
}

#[track_caller]
fn check_caught<const FAULT: u32>(by: &str) {
    let failed = failed::<FAULT>();
    assert!(failed.contains(&format!("tiny: {by}")), "caught by {failed:?}, expected by {by:?} at least");
}

#[test]
fn a_plugin_without_faults_passes() {
    assert_eq!(failed::<NONE>(), Vec::<String>::new());
}

#[test]
fn each_fault_is_caught() {
    check_caught::<LOOKS_AT_NEIGHBOURS>("lanes alone and among others");
    check_caught::<DEPENDS_ON_CALLS>("many steps in one call or one by one");
    check_caught::<DEPENDS_ON_THREADS>("one thread and two");
    check_caught::<RESET_KEEPS_WEIGHT>("a lane that is reset");
    check_caught::<EVALUATION_TRAINS>("evaluation changes nothing");
    check_caught::<NAN_IS_AN_ERROR>("divergence is data");
    check_caught::<FORGETS_STATE>("saved and loaded elsewhere");
    check_caught::<TAKES_ANY_OPTION>("malformed configurations");
    check_caught::<IGNORES_EPOCHS_LANE>("lanes alone and among others");
    check_caught::<PANICS>("trials alone");
    check_caught::<TWO_TENSORS_OF_ONE_NAME>("tensors");
    check_caught::<SILENT_REFUSAL>("malformed configurations");
    check_caught::<FAILED_RESET_CHANGES>("malformed resets");
    if cfg!(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")) {
        check_caught::<THREAD_ROUNDS_DOWN>("its own threads compute as the caller does");
    }
}
