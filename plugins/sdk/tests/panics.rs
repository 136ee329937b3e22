//! A panic in a plugin becomes a status and a message, is not printed, and ends the session but not the process.
#![allow(unsafe_code)]

use clr_plugin::{
    Dataset, Description, Error, Evaluate, Footprint, Lane, Model, Optimizer, Plugin, Session, SessionConfig,
    StepTable, Tensor, abi,
};

struct Panicky;

clr_plugin::export!(Panicky);

struct PanickySession;

impl Plugin for Panicky {
    type Session = PanickySession;

    fn description() -> Description {
        Description {
            name: "panicky",
            version: "1",
            numerics_revision: 1,
            devices: vec!["cpu"],
            models: vec![Model {
                name: "model",
                options_schema: "{}".to_owned(),
                defaults: "{}".to_owned(),
                hypers: vec!["lr"],
                metrics: vec!["loss", "accuracy"],
            }],
            optimizers: vec![Optimizer { name: "none", options_schema: "{}".to_owned(), hypers: vec!["lr"] }],
        }
    }

    fn footprint(config: &SessionConfig<'_>) -> Result<Footprint, Error> {
        panic!("no footprint of {}", config.model)
    }

    fn session(_config: &SessionConfig<'_>) -> Result<PanickySession, Error> {
        Ok(PanickySession)
    }
}

impl Session for PanickySession {
    fn step(&mut self, _table: &mut StepTable<'_>) -> Result<(), Error> {
        Ok(())
    }

    fn evaluate(&mut self, _evaluate: &mut Evaluate<'_>) -> Result<(), Error> {
        Ok(())
    }

    fn reset_lane(&mut self, _lane: usize, _trial: &Lane<'_>, _dataset: &Dataset<'_>) -> Result<(), Error> {
        std::panic::panic_any(7)
    }

    fn tensors(&self, _lane: usize) -> Vec<Tensor> {
        Vec::new()
    }

    fn save(&mut self, _lane: usize, _tensor: usize, _values: &mut [f32]) -> Result<(), Error> {
        Ok(())
    }

    fn load(&mut self, _lane: usize, _tensor: usize, _values: &[f32]) -> Result<(), Error> {
        Ok(())
    }
}

impl Drop for PanickySession {
    fn drop(&mut self) {
        panic!("not now");
    }
}

// One test: the hook is the process's, so no other may panic meanwhile.
#[test]
fn a_panic_is_a_status_and_a_message() {
    // SAFETY: the table is this program's own, and all arguments are as the header says.
    unsafe {
        let api = &*clr_plugin_api();
        let transform = std::ptr::null();
        let split = abi::Split { count: 0, images: std::ptr::null(), labels: std::ptr::null() };
        let dataset = abi::Dataset {
            struct_size: size_of::<abi::Dataset>(),
            height: 1,
            width: 1,
            channels: 1,
            class_count: 1,
            splits: [split; 3],
            transform,
            load_context: std::ptr::null_mut(),
            load: None,
        };
        let lane = abi::Lane {
            struct_size: size_of::<abi::Lane>(),
            options: abi::Str::new(r#"{"optimizer": "none"}"#),
            init_seed: 0,
            data_seed: 0,
        };
        let config = abi::SessionConfig {
            struct_size: size_of::<abi::SessionConfig>(),
            device: abi::Str::new("cpu"),
            model: abi::Str::new("model"),
            options: abi::Str::new("{}"),
            dataset: &raw const dataset,
            lanes: &raw const lane,
            lane_count: 1,
            batch_size: 1,
            thread_count: 1,
            reserved: 0,
        };
        let mut error = abi::Error::new();
        let mut footprint = abi::Footprint {
            struct_size: size_of::<abi::Footprint>(),
            bytes_shared: 0,
            bytes_per_lane: 0,
            numerics_size: 0,
            numerics: [0; abi::NUMERICS_CAPACITY],
        };
        let status = api.footprint.unwrap()(&raw const config, &raw mut footprint, &raw mut error);
        assert_eq!(status, abi::INTERNAL);
        let message = error.text();
        assert!(message.starts_with("panicked at ") && message.contains("panics.rs:"), "{message}");
        assert!(message.ends_with(": no footprint of model"), "{message}");

        let mut session = std::ptr::null_mut();
        assert_eq!(api.session_create.unwrap()(&raw const config, &raw mut session, &raw mut error), abi::OK);
        let reset = api.session_lane_reset.unwrap();
        assert_eq!(reset(session, 0, &raw const lane, &raw mut error), abi::INTERNAL);
        assert!(error.text().ends_with(": a value that is no text"), "{}", error.text());
        // The lane may be half changed: nothing more is done with it.
        assert_eq!(reset(session, 0, &raw const lane, &raw mut error), abi::INTERNAL);
        assert_eq!(error.text(), "an earlier call on this session failed");
        api.session_destroy.unwrap()(session);
        // Gives the process its own hook back, for the test's own failures.
        let _ = std::panic::take_hook();
    }
}
