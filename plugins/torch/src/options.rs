//! What a spec may ask of the plugin: the options of its models and optimizers, their JSON Schemas, and how they are read.

use clr_plugin::{Error, Model, Optimizer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Columns of the step table.
pub const HYPERS: [&str; 5] = ["lr", "momentum", "weight_decay", "beta1", "beta2"];

/// Columns of the metrics table.
pub const METRICS: [&str; 3] = ["loss", "accuracy", "grad_norm"];

/// The module on which the conformance suite tries the plugin.
const EXAMPLE: &str = include_str!("example.py");

/// A file of the user's: the name that tracebacks have, and its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceFile {
    file: String,
    text: String,
}

/// The options of a model. Defaults are filled in, so that Python looks for none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelOptions {
    file: Option<SourceFile>,
    function: Option<String>,
    /// Of torchvision or timm.
    name: Option<String>,
    arguments: Map<String, Value>,
    /// Which Python to start, as a shell would find it.
    #[serde(skip_serializing)]
    pub python: Option<String>,
    threads: u32,
    channels_last: bool,
    compile: bool,
    precision: Precision,
    accumulate: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Precision {
    F32,
    Tf32,
    Bf16,
}

impl Default for ModelOptions {
    fn default() -> ModelOptions {
        ModelOptions {
            file: None,
            function: None,
            name: None,
            arguments: Map::new(),
            python: None,
            threads: 1,
            channels_last: false,
            compile: false,
            precision: Precision::F32,
            accumulate: 1,
        }
    }
}

impl ModelOptions {
    /// Reads the options of one of [`models`], for batches of `batch_size`.
    pub fn parse(model: &str, json: &str, batch_size: usize) -> Result<ModelOptions, Error> {
        let options: ModelOptions = clr_plugin::parse_options(json, &format!("options of `{model}`"))?;
        let ModelOptions { file, function, name, threads, accumulate, .. } = &options;
        let own = [("file", file.is_some()), ("function", function.is_some())];
        let (needed, foreign) = if model == "module" {
            (&own[..], [("name", name.is_some())].to_vec())
        } else {
            (&[("name", name.is_some())][..], own.to_vec())
        };
        if let Some((option, _)) = needed.iter().find(|(_, is_given)| !is_given) {
            return Err(Error::invalid(format!("`{model}` needs the option `{option}`")));
        }
        if let Some((option, _)) = foreign.iter().find(|(_, is_given)| *is_given) {
            return Err(Error::invalid(format!("`{model}` has no option `{option}`")));
        }
        if *threads == 0 || *threads > 1024 {
            return Err(Error::invalid(format!("option `threads` is {threads}: expected 1 to 1024")));
        }
        if *accumulate == 0 || *accumulate as usize > batch_size {
            return Err(Error::invalid(format!(
                "option `accumulate` is {accumulate}: an update of {batch_size} samples can be of 1 to {batch_size} parts"
            )));
        }
        Ok(options)
    }
}

/// The options of a lane, with defaults filled in.
#[derive(Clone, Debug, Serialize)]
pub struct LaneOptions {
    #[serde(flatten)]
    constants: Map<String, Value>,
    clip_gradients: f64,
    groups: Vec<Group>,
    /// Names of the hyper-parameters that its optimizer reads.
    pub hypers: &'static [&'static str],
}

/// Parameters with multipliers of their own.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    parameters: Vec<String>,
    lr_mult: f64,
    decay_mult: f64,
}

impl LaneOptions {
    /// Reads `{"optimizer": NAME, ...constants, "groups": [...]}`.
    pub fn parse(json: &str) -> Result<LaneOptions, Error> {
        let mut given: Map<String, Value> = clr_plugin::parse_options(json, "a lane's options")?;
        let name = given.shift_remove("optimizer");
        let found = KINDS.iter().find(|kind| name.as_ref().is_some_and(|name| name == kind.name));
        let Some(kind) = found else {
            let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
            return Err(Error::invalid(format!("a lane's optimizer: expected one of {}", names.join(", "))));
        };
        let groups: Vec<Group> = match given.shift_remove("groups") {
            Some(groups) => clr_plugin::parse_options(&groups.to_string(), "`groups` of an optimizer")?,
            None => Vec::new(),
        };
        for Group { lr_mult, decay_mult, .. } in &groups {
            if [lr_mult, decay_mult].iter().any(|mult| !mult.is_finite() || **mult < 0.0) {
                return Err(Error::invalid(format!(
                    "`groups` of an optimizer: multipliers {lr_mult} and {decay_mult}: expected numbers of at least 0"
                )));
            }
        }
        let clip_gradients = match given.shift_remove("clip_gradients") {
            Some(value) => value.as_f64().filter(|norm| *norm >= 0.0).ok_or_else(|| {
                Error::invalid(format!("option `clip_gradients` is {value}: expected a number of at least 0"))
            })?,
            None => 0.0,
        };
        if let Some(form) = given.shift_remove("form").filter(|form| form != "torch") {
            return Err(Error::invalid(format!(
                "option `form` is {form}: PyTorch's optimizers have the form \"torch\""
            )));
        }
        let mut constants = Map::from_iter([("optimizer".to_owned(), Value::from(kind.name))]);
        for constant in kind.constants {
            let value = given.shift_remove(constant.name).unwrap_or_else(|| Value::from(constant.default));
            let number = value.as_f64().filter(|number| constant.allows(*number));
            let number = number.ok_or_else(|| {
                let expected = if constant.is_share { "a number from 0 to below 1" } else { "a number above 0" };
                Error::invalid(format!("option `{}` is {value}: expected {expected}", constant.name))
            })?;
            constants.insert(constant.name.to_owned(), Value::from(number));
        }
        if kind.name == MODULE {
            let what = "options of the optimizer `module`";
            for key in ["file", "function"] {
                let value = given.shift_remove(key);
                let value = value.ok_or_else(|| Error::invalid(format!("{what}: `{key}` is missing")))?;
                constants.insert(key.to_owned(), value);
            }
            clr_plugin::parse_options::<SourceFile>(&constants["file"].to_string(), what)?;
            clr_plugin::parse_options::<String>(&constants["function"].to_string(), what)?;
        }
        if let Some(unknown) = given.keys().next() {
            return Err(Error::invalid(format!("the optimizer `{}` has no option `{unknown}`", kind.name)));
        }
        Ok(LaneOptions { constants, clip_gradients, groups, hypers: kind.hypers })
    }
}

/// An optimizer.
struct Kind {
    name: &'static str,
    hypers: &'static [&'static str],
    /// Of its hyper-parameters but the learning rate: PyTorch's.
    defaults: &'static [f64],
    constants: &'static [Constant],
}

/// A number that stays the same for a trial.
struct Constant {
    name: &'static str,
    default: f64,
    /// True if it is from 0 to below 1; else it is above 0.
    is_share: bool,
    description: &'static str,
}

impl Constant {
    fn allows(&self, number: f64) -> bool {
        if self.is_share { (0.0..1.0).contains(&number) } else { number > 0.0 && number.is_finite() }
    }
}

/// The name of the optimizer that is the user's own.
const MODULE: &str = "module";

const fn epsilon(default: f64) -> Constant {
    Constant { name: "epsilon", default, is_share: false, description: "keeps the divisor from 0: torch.optim's eps" }
}

const EPSILON: Constant = epsilon(1e-8);
const RMS_DECAY: Constant = Constant {
    name: "rms_decay",
    default: 0.99,
    is_share: true,
    description: "what is kept of the mean square at each step: torch.optim's alpha",
};
const RHO: Constant = Constant {
    name: "rho",
    default: 0.9,
    is_share: true,
    description: "what is kept of the mean squares at each step",
};

const MOMENTUM: &[&str] = &["lr", "momentum", "weight_decay"];
const ADAPTIVE: &[&str] = &["lr", "weight_decay"];
const MOMENTS: &[&str] = &["lr", "weight_decay", "beta1", "beta2"];

/// The names are those of the plugins that are built in, and the formulas those of torch.optim.
const KINDS: &[Kind] = &[
    Kind { name: "sgd", hypers: MOMENTUM, defaults: &[0.0, 0.0], constants: &[] },
    Kind { name: "nesterov", hypers: MOMENTUM, defaults: &[0.9, 0.0], constants: &[] },
    Kind { name: "adam", hypers: MOMENTS, defaults: &[0.0, 0.9, 0.999], constants: &[EPSILON] },
    Kind { name: "adamw", hypers: MOMENTS, defaults: &[0.01, 0.9, 0.999], constants: &[EPSILON] },
    Kind { name: "amsgrad", hypers: MOMENTS, defaults: &[0.0, 0.9, 0.999], constants: &[EPSILON] },
    Kind { name: "rmsprop", hypers: ADAPTIVE, defaults: &[0.0], constants: &[EPSILON, RMS_DECAY] },
    Kind { name: "adagrad", hypers: ADAPTIVE, defaults: &[0.0], constants: &[epsilon(1e-10)] },
    Kind { name: "adadelta", hypers: ADAPTIVE, defaults: &[0.0], constants: &[epsilon(1e-6), RHO] },
    Kind { name: MODULE, hypers: ADAPTIVE, defaults: &[0.0], constants: &[] },
];

/// The optimizers as the plugin declares them.
pub fn optimizers() -> Vec<Optimizer> {
    let described = |kind: &Kind| {
        let mut properties = Map::new();
        for (name, default) in kind.hypers[1..].iter().zip(kind.defaults) {
            let mut property =
                json!({"type": "number", "minimum": 0, "default": default, "description": "a number or a schedule"});
            if *name != "weight_decay" {
                property["exclusiveMaximum"] = json!(1);
            }
            properties.insert((*name).to_owned(), property);
        }
        properties.insert(
            "form".to_owned(),
            json!({"type": "string", "enum": ["torch"], "default": "torch", "description": "the formulas are those of torch.optim"}),
        );
        for Constant { name, default, is_share, description } in kind.constants {
            let bounds =
                if *is_share { json!({"minimum": 0, "exclusiveMaximum": 1}) } else { json!({"exclusiveMinimum": 0}) };
            let mut property = json!({"type": "number", "default": default, "description": description});
            property
                .as_object_mut()
                .zip(bounds.as_object())
                .into_iter()
                .for_each(|(property, bounds)| property.extend(bounds.clone()));
            properties.insert((*name).to_owned(), property);
        }
        properties.insert(
            "clip_gradients".to_owned(),
            json!({"type": "number", "minimum": 0, "default": 0,
                   "description": "scales gradients whose L2 norm over all parameters exceeds this, before weight decay; 0: never"}),
        );
        properties.insert(
            "groups".to_owned(),
            json!({"type": "array", "description": "parameters with multipliers of their own: [[optimizers.NAME.groups]] of a spec"}),
        );
        let mut schema = json!({"type": "object", "additionalProperties": false});
        if kind.name == MODULE {
            properties.insert("file".to_owned(), file("A file of Python with an optimizer of your own"));
            properties.insert(
                "function".to_owned(),
                json!({"type": "string", "description": "Its function or class, called with the parameter groups: it gives a torch.optim.Optimizer"}),
            );
            schema["required"] = json!(["file", "function"]);
            schema["examples"] = json!([{"file": {"file": "example.py", "text": EXAMPLE}, "function": "SignDescent"}]);
        }
        schema["properties"] = Value::Object(properties);
        Optimizer { name: kind.name, options_schema: schema.to_string(), hypers: kind.hypers.to_vec() }
    };
    KINDS.iter().map(described).collect()
}

/// The models as the plugin declares them.
pub fn models() -> Vec<Model> {
    let model = |name: &'static str, description: &str, own: Value, example: Value| {
        let mut properties = own.as_object().cloned().unwrap_or_default();
        let required: Vec<String> = properties.keys().cloned().collect();
        properties.insert(
            "arguments".to_owned(),
            json!({"type": "object", "description": "Arguments of the function, by name; each may be an axis"}),
        );
        properties.insert("python".to_owned(), json!({"type": "string", "format": "program",
            "description": "The Python to start; else that of CLR_PYTHON, of the active virtual environment, or `python3`. It is not in a trial's id"}));
        properties.insert("threads".to_owned(), json!({"type": "integer", "minimum": 1, "maximum": 1024, "default": 1,
            "description": "Threads of each trial's operations on a CPU; other numbers give other bits. Use `--jobs` to leave them room"}));
        properties.insert(
            "channels_last".to_owned(),
            json!({"type": "boolean", "default": false,
            "description": "Images and weights as [N, H, W, C] in memory, which is faster for some networks"}),
        );
        properties.insert(
            "compile".to_owned(),
            json!({"type": "boolean", "default": false, "description": "Uses torch.compile"}),
        );
        properties.insert(
            "precision".to_owned(),
            json!({"type": "string", "enum": ["f32", "tf32", "bf16"], "default": "f32",
            "description": "Of products; bf16 is torch.autocast, and both exist on GPUs only"}),
        );
        properties.insert("accumulate".to_owned(), json!({"type": "integer", "minimum": 1, "default": 1}));
        let schema = json!({"type": "object", "description": description, "additionalProperties": false,
            "required": required, "examples": [example], "properties": properties});
        Model {
            name,
            options_schema: schema.to_string(),
            defaults: "{}".to_owned(),
            hypers: HYPERS.to_vec(),
            metrics: METRICS.to_vec(),
        }
    };
    let name =
        |package: &str| json!({"name": {"type": "string", "description": format!("The model's name in {package}")}});
    vec![
        model(
            "module",
            "A torch.nn.Module of your own, from a file of Python",
            json!({
                "file": file("The file of Python, relative to the spec; its text decides the trial's id"),
                "function": {"type": "string", "description": "Its function or class that gives the module, from the parameters class_count (num_classes) and image_shape (channels, height, width), where it has them, and `arguments`"},
            }),
            json!({"file": {"file": "example.py", "text": EXAMPLE}, "function": "ConvNet"}),
        ),
        model(
            "torchvision",
            "A model of torchvision, by its name, with new weights",
            name("torchvision.models"),
            json!({"name": "resnet18"}),
        ),
        model("timm", "A model of timm, by its name, with new weights", name("timm"), json!({"name": "resnet18"})),
    ]
}

/// The schema of an option that names a file: the host reads it, and gives its name and its text.
fn file(description: &str) -> Value {
    json!({"type": "string", "format": "file", "description": description})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_fits_its_own_options() {
        for model in models() {
            let schema: Value = serde_json::from_str(&model.options_schema).unwrap();
            let options = ModelOptions::parse(model.name, &schema["examples"][0].to_string(), 3).unwrap();
            assert_eq!((options.threads, options.accumulate), (1, 1));
        }
        for optimizer in optimizers() {
            let schema: Value = serde_json::from_str(&optimizer.options_schema).unwrap();
            let mut options = schema["examples"][0].as_object().cloned().unwrap_or_default();
            options.insert("optimizer".to_owned(), optimizer.name.into());
            let lane = LaneOptions::parse(&Value::Object(options).to_string()).unwrap();
            assert_eq!(lane.hypers, optimizer.hypers);
        }
    }

    #[test]
    fn what_is_no_option_of_a_model_or_an_optimizer_is_refused() {
        let model = |name: &str, json: &str| ModelOptions::parse(name, json, 8).unwrap_err().message;
        assert_eq!(model("module", "{}"), "`module` needs the option `file`");
        assert_eq!(model("torchvision", "{}"), "`torchvision` needs the option `name`");
        assert_eq!(model("timm", r#"{"name": "a", "function": "b"}"#), "`timm` has no option `function`");
        assert_eq!(
            model("timm", r#"{"name": "a", "accumulate": 9}"#),
            "option `accumulate` is 9: an update of 8 samples can be of 1 to 8 parts"
        );
        let lane = |json: &str| LaneOptions::parse(json).unwrap_err().message;
        assert_eq!(lane(r#"{"optimizer": "sgd", "epsilon": 1}"#), "the optimizer `sgd` has no option `epsilon`");
        assert_eq!(
            lane(r#"{"optimizer": "adadelta", "rho": 1}"#),
            "option `rho` is 1: expected a number from 0 to below 1"
        );
        assert_eq!(
            lane(r#"{"optimizer": "adam", "form": "caffe"}"#),
            "option `form` is \"caffe\": PyTorch's optimizers have the form \"torch\""
        );
        assert_eq!(lane(r#"{"optimizer": "module"}"#), "options of the optimizer `module`: `file` is missing");
    }
}
