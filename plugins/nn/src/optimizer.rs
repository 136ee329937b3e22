//! The optimizers that every network can be trained by: names, options, and the hyper-parameters that each reads.

use clr_kernels::optimizer::cuda::{Kind as KernelKind, LaneRule};
use clr_kernels::optimizer::{Adam, Form, Rule};
use clr_plugin::Error;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::columns::Hypers;
use crate::network::{Network, ParameterSlot};
use crate::options::Options;

/// A lane's optimizer and its constants.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Optimizer {
    kind: Kind,
    form: Form,
    epsilon: f32,
    /// What RMSProp and AdaDelta keep of their averages.
    decay: f32,
    /// The largest norm of a gradient; 0: no limit.
    clip_gradients: f32,
    /// One for each parameter of the network.
    multipliers: Vec<Multipliers>,
}

/// What is multiplied for a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Multipliers {
    /// The learning rate.
    pub lr: f32,
    /// The weight decay.
    pub decay: f32,
}

/// Parameters with multipliers in place of the architecture's own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    parameters: Vec<String>,
    lr_mult: f32,
    decay_mult: f32,
}

/// The optimizers, by the names that specs use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sgd,
    Nesterov,
    Adam,
    AdamW,
    RmsProp,
    AdaGrad,
    AdaDelta,
}

impl Kind {
    const ALL: [Kind; 7] =
        [Kind::Sgd, Kind::Nesterov, Kind::Adam, Kind::AdamW, Kind::RmsProp, Kind::AdaGrad, Kind::AdaDelta];

    fn name(self) -> &'static str {
        match self {
            Kind::Sgd => "sgd",
            Kind::Nesterov => "nesterov",
            Kind::Adam => "adam",
            Kind::AdamW => "adamw",
            Kind::RmsProp => "rmsprop",
            Kind::AdaGrad => "adagrad",
            Kind::AdaDelta => "adadelta",
        }
    }

    fn hypers(self) -> Vec<&'static str> {
        match self {
            Kind::Sgd | Kind::Nesterov => vec!["lr", "momentum", "weight_decay"],
            Kind::Adam | Kind::AdamW => vec!["lr", "weight_decay", "beta1", "beta2"],
            Kind::RmsProp | Kind::AdaGrad | Kind::AdaDelta => vec!["lr", "weight_decay"],
        }
    }

    /// What is kept for each weight.
    fn state_names(self) -> &'static [&'static str] {
        match self {
            Kind::Sgd | Kind::Nesterov => &["momentum"],
            Kind::Adam | Kind::AdamW => &["first_moment", "second_moment"],
            Kind::RmsProp => &["mean_square"],
            Kind::AdaGrad => &["square_sum"],
            Kind::AdaDelta => &["mean_square", "mean_square_update"],
        }
    }

    /// Caffe's `delta` is 1e-8 unless a solver says otherwise; PyTorch's defaults differ between its optimizers.
    fn default_epsilon(self, form: Form) -> f32 {
        match (self, form) {
            (Kind::AdaGrad, Form::Torch) => 1e-10,
            (Kind::AdaDelta, Form::Torch) => 1e-6,
            _ => 1e-8,
        }
    }

    /// JSON Schema of the constants.
    fn schema(self) -> String {
        let form = match self {
            Kind::Sgd => "caffe: v = momentum v + lr g, w -= v; torch: v = momentum v + g, w -= lr v",
            Kind::Nesterov => {
                "caffe: v' = momentum v + lr g, w -= (1 + momentum) v' - momentum v; torch: v = momentum v + g, w -= lr (g + momentum v)"
            }
            Kind::Adam | Kind::AdamW => {
                "where epsilon is added: caffe: to the square root before its correction for having started at 0; torch: after it"
            }
            Kind::RmsProp | Kind::AdaGrad | Kind::AdaDelta => "both forms agree but for the default of epsilon",
        };
        let mut properties = Map::new();
        properties.insert(
            "form".to_owned(),
            json!({"type": "string", "enum": ["caffe", "torch"], "default": "caffe", "description": form}),
        );
        let epsilon = match self {
            Kind::Sgd | Kind::Nesterov => None,
            Kind::AdaGrad => Some("keeps the divisor from 0; 1e-8 (caffe) or 1e-10 (torch) unless set"),
            Kind::AdaDelta => Some("keeps the divisor from 0; 1e-8 (caffe) or 1e-6 (torch) unless set"),
            _ => Some("keeps the divisor from 0; 1e-8 unless set"),
        };
        if let Some(description) = epsilon {
            let property = json!({"type": "number", "exclusiveMinimum": 0, "description": description});
            properties.insert("epsilon".to_owned(), property);
        }
        let average = match self {
            Kind::RmsProp => Some(("rms_decay", 0.99, "what is kept of the mean square at each step")),
            Kind::AdaDelta => Some(("rho", 0.9, "what is kept of the mean squares at each step; Caffe's momentum")),
            _ => None,
        };
        if let Some((name, default, description)) = average {
            properties.insert(
                name.to_owned(),
                json!({
                    "type": "number", "minimum": 0, "exclusiveMaximum": 1, "default": default, "description": description,
                }),
            );
        }
        properties.insert(
            "clip_gradients".to_owned(),
            json!({
                "type": "number", "minimum": 0, "default": 0,
                "description": "scales gradients whose L2 norm over all parameters exceeds this, before weight decay; 0: never",
            }),
        );
        properties.insert(
            "groups".to_owned(),
            json!({
                "type": "array",
                "description": "parameters with multipliers of their own: [[optimizers.NAME.groups]] of a spec",
            }),
        );
        json!({"type": "object", "properties": properties, "additionalProperties": false}).to_string()
    }
}

impl Optimizer {
    /// What the plugin declares.
    pub fn descriptions() -> Vec<clr_plugin::Optimizer> {
        Kind::ALL
            .map(|kind| clr_plugin::Optimizer {
                name: kind.name(),
                options_schema: kind.schema(),
                hypers: kind.hypers(),
            })
            .to_vec()
    }

    /// Reads the options of a lane of `network`: `{"optimizer": NAME, ...constants, "groups": [...]}`.
    pub fn parse(json: &str, network: &Network) -> Result<Optimizer, Error> {
        let mut given: Map<String, Value> =
            serde_json::from_str(json).map_err(|error| Error::invalid(format!("a lane's options: {error}")))?;
        let (name, groups) = (given.shift_remove("optimizer"), given.shift_remove("groups"));
        let Some(kind) = Kind::ALL.into_iter().find(|kind| name.as_ref().is_some_and(|name| name == kind.name()))
        else {
            let known = Kind::ALL.map(Kind::name).join(", ");
            let found = name.map_or("is missing".to_owned(), |name| format!("is {name}"));
            return Err(Error::invalid(format!("`optimizer` {found}: expected one of {known}")));
        };
        let what = format!("the options of optimizer {}", kind.name());
        let options = Options::parse(&Value::Object(given).to_string(), &kind.schema(), &what)?;
        let form = if options.text("form") == Some("torch") { Form::Torch } else { Form::Caffe };
        let number = |name: &str| options.number(name).map(|number| number as f32);
        Ok(Optimizer {
            kind,
            form,
            epsilon: number("epsilon").unwrap_or(kind.default_epsilon(form)),
            decay: number("rms_decay").or(number("rho")).unwrap_or(0.0),
            clip_gradients: number("clip_gradients").unwrap_or(0.0),
            multipliers: multipliers(groups, network)?,
        })
    }

    /// One for each parameter of the network.
    pub fn multipliers(&self) -> &[Multipliers] {
        &self.multipliers
    }

    /// What is kept for each weight: one or two names.
    pub fn state_names(&self) -> &'static [&'static str] {
        self.kind.state_names()
    }

    /// What gradients are multiplied by, given their norm.
    pub fn gradient_scale(&self, grad_norm: f32) -> f32 {
        if self.clip_gradients > 0.0 && grad_norm > self.clip_gradients { self.clip_gradients / grad_norm } else { 1.0 }
    }

    /// What a GPU's kernels know it by.
    pub fn lane_rule(&self) -> LaneRule {
        let Optimizer { kind, form, epsilon, decay, clip_gradients, .. } = *self;
        let kind = match kind {
            Kind::Sgd => KernelKind::Sgd,
            Kind::Nesterov => KernelKind::Nesterov,
            Kind::Adam => KernelKind::Adam,
            Kind::AdamW => KernelKind::AdamW,
            Kind::RmsProp => KernelKind::RmsProp,
            Kind::AdaGrad => KernelKind::AdaGrad,
            Kind::AdaDelta => KernelKind::AdaDelta,
        };
        LaneRule::new(kind, form, epsilon, decay, clip_gradients)
    }

    /// The rule for a parameter at a step, and the weight decay that is added to its gradient.
    pub fn rule(&self, hypers: &Hypers, multipliers: Multipliers, step: u64) -> (Rule, f32) {
        let Optimizer { kind, form, epsilon, decay, .. } = *self;
        let Hypers { momentum, beta1, beta2, .. } = *hypers;
        let (lr, weight_decay) = (hypers.lr * multipliers.lr, hypers.weight_decay * multipliers.decay);
        let adam = Adam { form, lr, beta1, beta2, epsilon, step };
        match kind {
            Kind::Sgd => (Rule::Sgd { form, lr, momentum }, weight_decay),
            Kind::Nesterov => (Rule::Nesterov { form, lr, momentum }, weight_decay),
            Kind::Adam => (Rule::Adam(adam), weight_decay),
            Kind::AdamW => (Rule::AdamW { adam, decoupled_decay: weight_decay }, 0.0),
            Kind::RmsProp => (Rule::RmsProp { lr, decay, epsilon }, weight_decay),
            Kind::AdaGrad => (Rule::AdaGrad { lr, epsilon }, weight_decay),
            Kind::AdaDelta => (Rule::AdaDelta { lr, rho: decay, epsilon }, weight_decay),
        }
    }
}

/// The architecture's own, but for those of parameters that are in a group.
fn multipliers(groups: Option<Value>, network: &Network) -> Result<Vec<Multipliers>, Error> {
    let parameters = network.parameters();
    let own = |slot: &ParameterSlot| Multipliers { lr: slot.parameter.lr_mult, decay: slot.parameter.decay_mult };
    let mut multipliers: Vec<Multipliers> = parameters.iter().map(own).collect();
    let Some(groups) = groups else { return Ok(multipliers) };
    let groups: Vec<Group> =
        serde_json::from_value(groups).map_err(|error| Error::invalid(format!("`groups` of an optimizer: {error}")))?;
    let mut is_grouped = vec![false; parameters.len()];
    for Group { parameters: names, lr_mult: lr, decay_mult: decay } in groups {
        if [lr, decay].iter().any(|mult| !mult.is_finite() || *mult < 0.0) {
            let message =
                format!("`groups` of an optimizer: multipliers {lr} and {decay}: expected numbers of at least 0");
            return Err(Error::invalid(message));
        }
        for name in names {
            let Some(index) = parameters.iter().position(|slot| slot.name == name) else {
                return Err(Error::invalid(format!("`groups` of an optimizer: there is no parameter `{name}`")));
            };
            if std::mem::replace(&mut is_grouped[index], true) {
                return Err(Error::invalid(format!("`groups` of an optimizer: `{name}` is there twice")));
            }
            multipliers[index] = Multipliers { lr, decay };
        }
    }
    Ok(multipliers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::HYPERS;
    use crate::initializer::Initializer;
    use crate::layer::Linear;
    use crate::parameter::Parameter;

    fn parse(json: &str) -> Result<Optimizer, Error> {
        let mut network = Network::new([2, 2, 1], 3);
        let parameter = || Parameter::new(Initializer::Constant { value: 0.0 });
        let bias = Some(parameter().lr_mult(2.0).decay_mult(0.5));
        let x = network.linear("ip1", network.input(), Linear { outputs: 3, weight: parameter(), bias }).unwrap();
        network.logits(x).unwrap();
        Optimizer::parse(json, &network)
    }

    #[track_caller]
    fn check_error(json: &str, expected: &str) {
        assert_eq!(parse(json).unwrap_err().message, expected);
    }

    #[test]
    fn a_group_s_multipliers_stand_in_place_of_the_architecture_s() {
        let multipliers = |groups: &str| {
            let optimizer = parse(&format!(r#"{{"optimizer": "sgd"{groups}}}"#)).unwrap();
            optimizer.multipliers().iter().map(|mults| (mults.lr, mults.decay)).collect::<Vec<_>>()
        };
        assert_eq!(multipliers(""), [(1.0, 1.0), (2.0, 0.5)]);
        assert_eq!(multipliers(r#", "groups": []"#), [(1.0, 1.0), (2.0, 0.5)]);
        let group = r#", "groups": [{"parameters": ["ip1.bias"], "lr_mult": 0.1, "decay_mult": 0}]"#;
        assert_eq!(multipliers(group), [(1.0, 1.0), (0.1, 0.0)]);
    }

    #[test]
    fn groups_of_unknown_parameters_are_refused() {
        let group = |parameters: &str, lr_mult: &str| {
            format!(
                r#"{{"optimizer": "sgd", "groups": [{{"parameters": {parameters}, "lr_mult": {lr_mult}, "decay_mult": 1}}]}}"#
            )
        };
        let what = "`groups` of an optimizer: ";
        check_error(&group(r#"["ip2.bias"]"#, "1"), &format!("{what}there is no parameter `ip2.bias`"));
        check_error(&group(r#"["ip1.bias", "ip1.bias"]"#, "1"), &format!("{what}`ip1.bias` is there twice"));
        check_error(&group("[]", "-1"), &format!("{what}multipliers -1 and 1: expected numbers of at least 0"));
        check_error(
            &group("[]", "1, \"momentum\": 0"),
            &format!("{what}unknown field `momentum`, expected one of `parameters`, `lr_mult`, `decay_mult`"),
        );
    }

    #[test]
    fn unknown_optimizers_and_options_are_refused() {
        let names = "sgd, nesterov, adam, adamw, rmsprop, adagrad, adadelta";
        check_error("{}", &format!("`optimizer` is missing: expected one of {names}"));
        check_error(r#"{"optimizer": "lion"}"#, &format!("`optimizer` is \"lion\": expected one of {names}"));
        check_error(
            r#"{"optimizer": "sgd", "epsilon": 1e-8}"#,
            "unknown option `epsilon` in the options of optimizer sgd: expected form, clip_gradients, groups",
        );
        check_error(
            r#"{"optimizer": "adadelta", "rho": 1}"#,
            "option `rho` in the options of optimizer adadelta is 1: expected less than 1",
        );
    }

    #[test]
    fn every_default_fits_its_own_schema() {
        for description in Optimizer::descriptions() {
            let empty = format!(r#"{{"optimizer": "{}"}}"#, description.name);
            let filled = Options::parse("{}", &description.options_schema, "defaults").unwrap();
            assert_eq!(filled.text("form"), Some("caffe"));
            assert_eq!(filled.number("clip_gradients"), Some(0.0));
            assert!(parse(&empty).is_ok(), "{}", description.name);
            assert!(description.hypers.iter().all(|hyper| HYPERS.contains(hyper)));
        }
    }

    #[test]
    fn gradients_are_scaled_down_to_the_limit_only() {
        let scale = |limit: &str, norm| {
            let json = format!(r#"{{"optimizer": "sgd", "clip_gradients": {limit}}}"#);
            parse(&json).unwrap().gradient_scale(norm)
        };
        assert_eq!([scale("0", 5.0), scale("2.5", 5.0), scale("5", 5.0), scale("5", 1.0)], [1.0, 0.5, 1.0, 1.0]);
        assert_eq!(scale("5", f32::NAN), 1.0);
    }
}
