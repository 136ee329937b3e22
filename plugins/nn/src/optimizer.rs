//! A lane's optimizer as plugins declare and read it: the JSON Schema of its options, and the multipliers of its parameters.

use clr_kernels::optimizer::{ALL, Constant, DefaultValue, Descriptor, Form, Hyper, Optimizer, Range};
use clr_plugin::Error;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::network::{Network, ParameterSlot};
use crate::options::Options;

/// How a lane's parameters are updated.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LaneOptimizer {
    pub rule: Optimizer,
    /// One for each parameter of the network.
    pub multipliers: Vec<Multipliers>,
}

/// A parameter's multipliers of the trial's hyper-parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Multipliers {
    pub lr: f32,
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

impl LaneOptimizer {
    /// The descriptions that the plugin declares.
    pub fn descriptions() -> Vec<clr_plugin::Optimizer> {
        let describe = |descriptor: &&Descriptor| clr_plugin::Optimizer {
            name: descriptor.name,
            options_schema: declared(descriptor),
            hypers: descriptor.hypers.iter().map(|hyper| hyper.name).collect(),
        };
        ALL.iter().map(describe).collect()
    }

    /// Reads the options of a lane of `network`: `{"optimizer": NAME, ...constants, "groups": [...]}`.
    pub fn parse(json: &str, network: &Network) -> Result<LaneOptimizer, Error> {
        let mut given: Map<String, Value> =
            serde_json::from_str(json).map_err(|error| Error::invalid(format!("a lane's options: {error}")))?;
        let (name, groups) = (given.shift_remove("optimizer"), given.shift_remove("groups"));
        let found = ALL.iter().find(|known| name.as_ref().is_some_and(|name| name == known.name));
        let Some(descriptor) = found else {
            let known: Vec<&str> = ALL.iter().map(|descriptor| descriptor.name).collect();
            let found = name.map_or("is missing".to_owned(), |name| format!("is {name}"));
            return Err(Error::invalid(format!("`optimizer` {found}: expected one of {}", known.join(", "))));
        };
        let what = format!("the options of optimizer {}", descriptor.name);
        let schema = object(constants(descriptor));
        let options = Options::parse(&Value::Object(given).to_string(), &schema, &what)?;
        let form = if options.text("form") == Some("torch") { Form::Torch } else { Form::Caffe };
        let max_grad_norm = options.number("clip_gradients").unwrap_or(0.0) as f32;
        let rule = Optimizer::new(descriptor, form, max_grad_norm, |constant| options.number(constant));
        Ok(LaneOptimizer { rule, multipliers: multipliers(groups, network)? })
    }

    /// Names of the tensors that are kept for each parameter.
    pub fn state_names(&self) -> &'static [&'static str] {
        self.rule.descriptor().state
    }
}

/// The JSON Schema that the plugin declares: the constants, and the ranges and defaults of what the step table has columns for.
fn declared(descriptor: &Descriptor) -> String {
    let mut properties = constants(descriptor);
    // The policy has the learning rate.
    for Hyper { name, range, default } in descriptor.hypers.iter().filter(|hyper| hyper.name != "lr") {
        let mut property = bounds(*range);
        if let Some(default) = default {
            property.insert("default".to_owned(), json!(default));
        }
        property.insert("description".to_owned(), json!("a number or a schedule"));
        properties.insert((*name).to_owned(), Value::Object(property));
    }
    object(properties)
}

/// The properties of a lane's options: the form, the optimizer's constants, and what all optimizers have.
fn constants(descriptor: &Descriptor) -> Map<String, Value> {
    let mut properties = Map::new();
    let form =
        json!({"type": "string", "enum": ["caffe", "torch"], "default": "caffe", "description": descriptor.forms});
    properties.insert("form".to_owned(), form);
    for Constant { name, range, default, description } in descriptor.constants {
        let mut property = bounds(*range);
        if let DefaultValue::Always(default) = default {
            property.insert("default".to_owned(), json!(default));
        }
        property.insert("description".to_owned(), json!(description));
        properties.insert((*name).to_owned(), Value::Object(property));
    }
    let clipping = json!({
        "type": "number", "minimum": 0, "default": 0,
        "description": "scales gradients whose L2 norm over all parameters exceeds this, before weight decay; 0: never",
    });
    properties.insert("clip_gradients".to_owned(), clipping);
    let groups = json!({
        "type": "array",
        "description": "parameters with multipliers of their own: [[optimizers.NAME.groups]] of a spec",
    });
    properties.insert("groups".to_owned(), groups);
    properties
}

/// The schema of an object with these properties and no others.
fn object(properties: Map<String, Value>) -> String {
    json!({"type": "object", "properties": properties, "additionalProperties": false}).to_string()
}

/// The schema of a number.
fn bounds(range: Range) -> Map<String, Value> {
    let bounds: &[(&str, i32)] = match range {
        Range::NotNegative => &[("minimum", 0)],
        Range::Positive => &[("exclusiveMinimum", 0)],
        Range::Share => &[("minimum", 0), ("exclusiveMaximum", 1)],
    };
    let bounds = bounds.iter().map(|(key, bound)| ((*key).to_owned(), json!(bound)));
    [("type".to_owned(), json!("number"))].into_iter().chain(bounds).collect()
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
    use crate::op::Linear;
    use crate::parameter::Parameter;

    fn parse(json: &str) -> Result<LaneOptimizer, Error> {
        let mut network = Network::new([2, 2, 1], 3);
        let parameter = || Parameter::new(Initializer::Constant { value: 0.0 });
        let bias = Some(parameter().lr_mult(2.0).decay_mult(0.5));
        let x = network.linear("ip1", network.input(), Linear { outputs: 3, weight: parameter(), bias }).unwrap();
        network.logits(x).unwrap();
        LaneOptimizer::parse(json, &network)
    }

    #[track_caller]
    fn check_error(json: &str, expected: &str) {
        assert_eq!(parse(json).unwrap_err().message, expected);
    }

    #[test]
    fn a_group_s_multipliers_stand_in_place_of_the_architecture_s() {
        let multipliers = |groups: &str| {
            let optimizer = parse(&format!(r#"{{"optimizer": "sgd"{groups}}}"#)).unwrap();
            optimizer.multipliers.iter().map(|mults| (mults.lr, mults.decay)).collect::<Vec<_>>()
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
        let names: Vec<&str> = ALL.iter().map(|descriptor| descriptor.name).collect();
        let names = names.join(", ");
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
        for description in LaneOptimizer::descriptions() {
            let empty = format!(r#"{{"optimizer": "{}"}}"#, description.name);
            let filled = Options::parse("{}", &description.options_schema, "defaults").unwrap();
            assert_eq!(filled.text("form"), Some("caffe"));
            assert_eq!(filled.number("clip_gradients"), Some(0.0));
            assert!(parse(&empty).is_ok(), "{}", description.name);
            assert!(description.hypers.iter().all(|hyper| HYPERS.contains(hyper)));
        }
    }
}
