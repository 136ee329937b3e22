//! Words of other tools, and what they are called here: PyTorch's, Keras's, fastai's, Caffe's and a few of others.
//!
//! Readers come with specs in their heads. Where a word is unknown in a spec but known from elsewhere, the message says
//! what to write instead of guessing by its letters.

use clr_terminal::suggest;

/// The part of a spec in which a word stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// As the `kind` of a policy or of another schedule.
    Kind,
    /// As a key of a policy, of another schedule or of a stage.
    ScheduleKey,
    /// As the `kind` of an optimizer.
    Optimizer,
    /// As a key of an optimizer.
    OptimizerKey,
    /// As a key of a group of parameters.
    GroupKey,
    /// As a table, or as a key of `[experiment]`, `[model]`, `[data]`, `[train]`, `[checkpoint]` or `[limits]`.
    Section,
}

/// Words that mean the same.
pub struct Foreign {
    /// Compared without case, `_` and `-`.
    pub words: &'static [&'static str],
    /// The parts of a spec in which they are answered.
    pub places: &'static [Place],
    /// The advice; names of ours stand in backticks.
    pub answer: &'static str,
}

const fn at(places: &'static [Place], words: &'static [&'static str], answer: &'static str) -> Foreign {
    Foreign { words, places, answer }
}

const KIND: &[Place] = &[Place::Kind];
const KEY: &[Place] = &[Place::ScheduleKey];
const KEY_OR_SECTION: &[Place] = &[Place::ScheduleKey, Place::Section];
const OPTIMIZER: &[Place] = &[Place::Optimizer];
const OPTION: &[Place] = &[Place::OptimizerKey];
const OPTION_OR_SECTION: &[Place] = &[Place::OptimizerKey, Place::Section];
const SECTION: &[Place] = &[Place::Section];
const GROUP: &[Place] = &[Place::GroupKey];
const KEYS: &[Place] = &[Place::ScheduleKey, Place::OptimizerKey, Place::Section];

/// All that are answered.
pub static FOREIGN: &[Foreign] = &[
    // Schedules.
    at(
        KIND,
        &["CyclicLR", "cyclic", "clr", "cyclical"],
        "write `kind = \"triangular\"`, `\"triangular2\"` or `\"exp_range\"`: the mode is the kind, and `step_size_up` is `step_size`",
    ),
    at(
        KIND,
        &["OneCycleLR", "1cycle", "1cycleLR", "OneCycle", "OneCyclePolicy", "super_convergence"],
        "write `kind = \"one_cycle\"` with `form = \"two_phase\"` (PyTorch's default), `\"three_phase\"`, `\"fastai\"` or `\"smith\"`",
    ),
    at(KIND, &["fit_one_cycle"], "write `kind = \"one_cycle\"` with `form = \"fastai\"`"),
    at(
        KIND,
        &[
            "CosineAnnealingWarmRestarts",
            "CosineAnnealingWarmupRestarts",
            "CosineDecayRestarts",
            "SGDRDecay",
            "cosine_with_restarts",
            "cosine_with_hard_restarts",
            "warm_restarts",
            "fit_sgdr",
        ],
        "write `kind = \"sgdr\"` with `max_lr`, `min_lr`, `first_cycle` (T_0), `mult` (T_mult) and `peak_factor` (gamma, m_mul); a `warmup` comes before the first cycle only",
    ),
    at(
        KIND,
        &["CosineAnnealingLR", "CosineAnnealing", "CosineDecay", "cosine_decay", "CosineLRScheduler", "cos"],
        "write `kind = \"cosine\"` with `max_lr`, `min_lr` (eta_min) and `steps` (T_max); with restarts `kind = \"sgdr\"`",
    ),
    at(
        KIND,
        &["StepLR", "step_decay"],
        "write `kind = \"step\"` with `base_lr`, `gamma` and `step_size`; `per = \"epoch\"` counts epochs",
    ),
    at(
        KIND,
        &["MultiStepLR"],
        "write `kind = \"multistep\"` with `base_lr`, `gamma` and `milestones`, such as `[\"30 epochs\", \"60 epochs\"]`",
    ),
    at(
        KIND,
        &["PiecewiseConstantDecay", "piecewise_constant", "piecewise"],
        "write `kind = \"multistep\"` with `gamma` and `milestones`, or `kind = \"sequence\"` of `fixed` stages; a boundary of Keras is the last step of the old value, a milestone the first of the new",
    ),
    at(
        KIND,
        &["ExponentialLR", "exponential"],
        "write `kind = \"exp\"`; PyTorch falls by `gamma` once an epoch, which is `per = \"epoch\"`, `first_epoch = 0`",
    ),
    at(
        KIND,
        &["ExponentialDecay", "exponential_decay"],
        "write `kind = \"exp\"` with `gamma` = decay_rate^(1 / decay_steps), or, for `staircase`, `kind = \"step\"` with `gamma` = decay_rate and `step_size` = decay_steps",
    ),
    at(
        KIND,
        &["InverseTimeDecay", "inverse_time"],
        "write `kind = \"inv\"` with `gamma` = decay_rate / decay_steps and `power = 1`",
    ),
    at(
        KIND,
        &["inverse_sqrt", "noam"],
        "write `kind = \"inv\"` with `power = 0.5`, as a stage of a `sequence` after a `linear` one",
    ),
    at(
        KIND,
        &["PolynomialLR", "PolynomialDecay", "polynomial"],
        "write `kind = \"poly\"` with `base_lr`, `power` and `steps`, which ends at 0; a line to another value is `kind = \"linear\"`",
    ),
    at(
        KIND,
        &["LinearLR", "LinearDecay", "linear_decay"],
        "write `kind = \"linear\"` with `from_lr`, `to_lr` and `steps`",
    ),
    at(
        KIND,
        &[
            "constant_with_warmup",
            "linear_with_warmup",
            "cosine_with_warmup",
            "GradualWarmupScheduler",
            "warmup",
            "WarmupLR",
        ],
        "write the policy's own kind, and `warmup = \"5 epochs\"` beside it",
    ),
    at(
        KIND,
        &["ConstantLR", "constant", "const", "none"],
        "write `kind = \"fixed\"`; for a time only, as a stage of a `sequence`",
    ),
    at(
        KIND,
        &["SequentialLR", "ChainedScheduler", "combine_scheds", "chained", "fit_flat_cos", "flat_cos"],
        "write `kind = \"sequence\"` with `stages = [{ kind = \"..\", iterations = .. }, ..]`",
    ),
    at(
        KIND,
        &["LambdaLR", "MultiplicativeLR", "LearningRateScheduler", "custom", "lambda"],
        "write the values into a CSV file and use `kind = \"table\"`; a spec has no functions",
    ),
    at(
        KIND,
        &["ReduceLROnPlateau", "plateau", "reduce_on_plateau"],
        "no schedule depends on the loss, so that every trial can be repeated: `kind = \"multistep\"` falls at `milestones` that you choose",
    ),
    at(
        KIND,
        &["lr_find", "lr_finder", "LRFinder", "LRRangeTest", "range"],
        "write `kind = \"range_test\"` with `min_lr` and `max_lr`",
    ),
    // Keys of schedules.
    at(
        KEYS,
        &["lr", "learning_rate", "initial_lr", "initial_learning_rate", "init_lr", "lr0", "eta0"],
        "the learning rate is `base_lr` (or `max_lr`, by the kind) of a policy, `[policies.NAME]`",
    ),
    at(
        KEY,
        &[
            "lr_policy",
            "lr_scheduler",
            "lr_schedule",
            "scheduler",
            "schedule",
            "scheduler_type",
            "lr_scheduler_type",
            "policy",
            "type",
            "mode",
            "class_name",
            "name",
        ],
        "write `kind = \"..\"`, such as `\"triangular2\"`: the mode of a CyclicLR is the kind too",
    ),
    at(
        SECTION,
        &[
            "lr_policy",
            "lr_scheduler",
            "lr_schedule",
            "scheduler",
            "schedule",
            "scheduler_type",
            "lr_scheduler_type",
            "policy",
            "step_policy",
        ],
        "a schedule is a table of its own, `[policies.NAME]`, with `kind = \"..\"`",
    ),
    at(
        KEY_OR_SECTION,
        &["stepsize", "step_size_up", "half_cycle", "stepsize_up"],
        "write `step_size` in a policy: from `base_lr` to `max_lr`, half a cycle",
    ),
    at(
        KEY_OR_SECTION,
        &["stepvalue", "stepvalues", "boundaries", "decay_epochs", "lr_steps", "steps_lr"],
        "write `milestones`, of `kind = \"multistep\"`",
    ),
    at(
        KEY,
        &["T_0", "first_decay_steps", "cycle_len", "cycle_length", "t_initial", "first_cycle_steps"],
        "write `first_cycle`, of `kind = \"sgdr\"`",
    ),
    at(
        KEY,
        &["cycle_limit"],
        "restarts of `sgdr` go on to the end of the training: write it as a stage of a `sequence` before a `fixed` one",
    ),
    at(
        KEY,
        &[
            "T_mult",
            "t_mul",
            "cycle_mult",
            "cycle_mul",
            "cycle_factor",
            "step_factor",
            "length_factor",
            "period_factor",
        ],
        "write `mult`, any factor above 0, of `sgdr`, `triangular` and `one_cycle`",
    ),
    at(
        KEY,
        &["m_mul"],
        "write `peak_factor`, of `kind = \"sgdr\"`, with `peak_factor_of = \"amplitude\"`: Keras multiplies what a peak has above alpha",
    ),
    at(
        KEY,
        &["cycle_decay", "restart_decay", "peak_decay", "lr_factor", "max_lr_factor", "amplitude_factor"],
        "write `peak_factor`, of `sgdr`, `triangular` and `one_cycle`: what a peak is multiplied by from cycle to cycle",
    ),
    at(
        KEY,
        &["gamma"],
        "write `peak_factor` for the peaks of `sgdr`, `triangular` and `one_cycle`; `gamma` is of kinds that fall all the time, such as `step` and `exp_range`",
    ),
    at(
        KEY,
        &[
            "T_max",
            "total_steps",
            "total_iters",
            "decay_steps",
            "max_decay_steps",
            "num_training_steps",
            "total_iterations",
            "n_iter",
            "steps_per_epoch",
            "T_i",
        ],
        "write `steps`, how long it takes; without it, all of the training",
    ),
    at(
        KEY,
        &["epochs", "num_epochs", "n_epoch", "n_epochs"],
        "write `steps = \"10 epochs\"` for the schedule, or `train.iterations = \"10 epochs\"` for the training",
    ),
    at(
        KEY,
        &["eta_min", "lr_min", "end_lr", "final_lr", "end_learning_rate", "lr_end", "minimum_lr"],
        "write `min_lr`, of `cosine` and `sgdr`; of `linear` it is `to_lr`",
    ),
    at(
        KEY,
        &["eta_max", "lr_max", "maximum_lr", "peak_lr", "max_learning_rate", "maximal_learning_rate", "n_max"],
        "write `max_lr`",
    ),
    at(
        KEY,
        &["lr_min_base", "initial_learning_rate_min", "minimal_learning_rate", "start_lr_value"],
        "write `base_lr`",
    ),
    at(KEY, &["alpha"], "write `min_lr`, a value: Keras's alpha is `min_lr` / `max_lr`"),
    at(
        KEY,
        &["decay_rate", "drop", "drop_rate", "lr_decay_rate", "lr_gamma", "lr_decay"],
        "write `gamma`, the factor of each fall, of `step`, `multistep` and `exp`",
    ),
    at(
        KEY,
        &["factor", "patience", "threshold", "threshold_mode", "cooldown"],
        "no schedule depends on the loss: `kind = \"multistep\"` falls by `gamma` at `milestones`",
    ),
    at(KEY, &["staircase"], "write `kind = \"step\"`, which falls in stairs"),
    at(
        KEY,
        &["start_factor", "start_lr", "lr_start"],
        "write `from_lr`, a value, of `kind = \"linear\"`; of a warmup `warmup_factor` or `warmup_from`",
    ),
    at(
        KEY,
        &["warmup_init_lr", "warmup_learning_rate", "warmup_start_lr"],
        "write `warmup_from`, the value at which the `warmup` begins",
    ),
    at(KEY, &["end_factor", "lr_stop", "stop_lr"], "write `to_lr`, a value, of `kind = \"linear\"`"),
    at(
        KEY,
        &[
            "warmup_steps",
            "warmup_iters",
            "warmup_epochs",
            "num_warmup_steps",
            "warmup_ratio",
            "warmup_t",
            "warmup_target",
        ],
        "write `warmup`, in iterations, epochs or as a share: `warmup = \"5 epochs\"` or `\"10%\"`",
    ),
    at(
        KEY,
        &["schedulers", "schedules", "scheds", "phases"],
        "write `stages = [{ kind = \"..\", iterations = .. }, ..]`, of `kind = \"sequence\"`",
    ),
    at(
        KEY,
        &["lr_lambda", "lr_lambdas", "scale_fn", "scale_mode", "function", "schedule_fn"],
        "a spec has no functions: `peak_factor` and `amplitude` change the peaks of `triangular`, and `kind = \"table\"` takes any values from a CSV file",
    ),
    at(
        KEY,
        &["values"],
        "values of a schedule come from a CSV file, `kind = \"table\"` with `file`, or from `kind = \"multistep\"`",
    ),
    at(KEY, &["three_phase"], "write `form = \"three_phase\"`, of `kind = \"one_cycle\"`"),
    at(
        KEY,
        &["anneal_strategy", "annealing"],
        "write `anneal = \"cosine\"` or `\"linear\"`, of `kind = \"one_cycle\"`",
    ),
    at(KEY, &["div", "init_div", "div_start"], "write `div_factor`, of `kind = \"one_cycle\"`"),
    at(
        KEY,
        &["div_final", "final_div", "div_end"],
        "write `final_div_factor`, of `kind = \"one_cycle\"`; fastai divides `max_lr` by it, here it divides the first value",
    ),
    at(KEY, &["pct", "pct_up", "percentage_start"], "write `pct_start`, of `kind = \"one_cycle\"`"),
    at(
        KEY,
        &[
            "cycle_momentum",
            "base_momentum",
            "max_momentum",
            "cyclical_momentum",
            "moms",
            "mom",
            "momentum",
            "max_mom",
            "min_mom",
        ],
        "a momentum that changes is a schedule of the optimizer: `optimizer.momentum = { kind = \"triangular\", base = 0.95, max = 0.85, step_size = 2000 }`",
    ),
    at(
        KEY,
        &["num_cycles", "n_cycles", "cycle_count", "num_cycle"],
        "write `cycles`, of `triangular`, `triangular2`, `exp_range` and `one_cycle`; `sgdr` has restarts by `first_cycle`, such as \"25%\", and `mult`",
    ),
    at(
        KEY,
        &["last_epoch", "verbose", "start_lr_policy", "start_step", "begin"],
        "a stage of a `sequence` counts from its own start, and an interrupted trial goes on by itself: remove it",
    ),
    at(
        KEY,
        &["interval", "frequency", "by_epoch", "t_in_epochs", "scheduler_step"],
        "write `per = \"epoch\"` or `per = \"iteration\"`",
    ),
    at(
        KEY,
        &["optim", "optimiser"],
        "write `optimizers = [\"..\"]`, the names of `[optimizers.NAME]` that the policy meets",
    ),
    // Optimizers.
    at(
        OPTIMIZER,
        &["momentum", "MomentumOptimizer", "SGDM", "SGDMomentum", "GradientDescent", "vanilla"],
        "write `kind = \"sgd\"` with `momentum`",
    ),
    at(
        OPTIMIZER,
        &["NAG", "NesterovMomentum", "SGDNesterov", "nesterov_sgd", "NesterovSGD"],
        "write `kind = \"nesterov\"` with `momentum`",
    ),
    at(OPTIMIZER, &["RMSpropTF", "rms", "rms_prop"], "write `kind = \"rmsprop\"` with `rms_decay`"),
    at(OPTIMIZER, &["AdamAMSGrad", "ams_grad"], "write `kind = \"amsgrad\"`"),
    at(OPTIMIZER, &["ada_grad"], "write `kind = \"adagrad\"`"),
    at(OPTIMIZER, &["ada_delta"], "write `kind = \"adadelta\"` with `rho`"),
    at(
        OPTIMIZER,
        &["adam_w", "DecoupledWeightDecay", "FusedAdam", "AdamWeightDecay"],
        "write `kind = \"adamw\"`, or `kind = \"adam\"` for a decay in the gradient",
    ),
    at(
        OPTIMIZER,
        &[
            "NAdam",
            "RAdam",
            "Adamax",
            "LAMB",
            "Lion",
            "Adafactor",
            "SparseAdam",
            "Ranger",
            "Yogi",
            "AdaBelief",
            "Sophia",
            "Muon",
            "Adan",
        ],
        "it is not offered; the nearest are `kind = \"adam\"` and `kind = \"adamw\"`",
    ),
    at(
        OPTIMIZER,
        &["LARS", "ASGD", "Rprop", "LBFGS", "Ftrl", "SGDW"],
        "it is not offered; the nearest are `kind = \"sgd\"` and `kind = \"nesterov\"`",
    ),
    at(
        OPTION,
        &["betas"],
        "`betas = [b1, b2]` is two keys here, `beta1 = 0.9` and `beta2 = 0.999`: a list is an axis of the grid",
    ),
    at(OPTION, &["beta_1", "momentum1", "b1"], "write `beta1`"),
    at(OPTION, &["beta_2", "momentum2", "b2", "sqr_mom"], "write `beta2`"),
    at(OPTION, &["eps", "delta", "eps_root", "numerical_stability"], "write `epsilon`"),
    at(OPTION, &["nesterov", "use_nesterov"], "it is an optimizer of its own: `kind = \"nesterov\"`"),
    at(
        OPTION,
        &["alpha", "decay_rate", "smoothing", "sqr_mom_decay"],
        "write `rms_decay` of `rmsprop`, `rho` of `adadelta`",
    ),
    at(OPTION, &["mom", "mu"], "write `momentum`"),
    at(OPTION, &["wd", "l2", "l2_reg", "decoupled_wd", "regularization"], "write `weight_decay`"),
    at(OPTION, &["decay", "lr_decay"], "a learning rate that falls belongs to a policy: `kind = \"inv\"`"),
    at(
        OPTION,
        &["dampening"],
        "there is none: `form = \"torch\"` of `sgd` and `nesterov` is PyTorch's update with a dampening of 0",
    ),
    at(OPTION, &["amsgrad", "use_amsgrad"], "it is an optimizer of its own: `kind = \"amsgrad\"`"),
    at(
        OPTION,
        &["centered", "decoupled_weight_decay", "initial_accumulator_value"],
        "that form is not offered; `adam` and `adamw` have `beta1`, `beta2`, `epsilon` and `weight_decay`",
    ),
    at(
        OPTION,
        &["maximize", "foreach", "fused", "capturable", "differentiable", "jit_compile", "use_ema", "ema_momentum"],
        "it changes nothing that an optimizer here can do: remove it, and keep `kind` and its constants",
    ),
    at(
        OPTION_OR_SECTION,
        &[
            "clipnorm",
            "global_clipnorm",
            "clipvalue",
            "max_grad_norm",
            "clip_grad",
            "clip_grad_norm",
            "gradient_clip_val",
            "grad_clip",
            "clip_norm",
            "max_norm",
        ],
        "write `train.clip_gradients`, the largest L2 norm over all parameters",
    ),
    at(
        OPTION,
        &["base_lr", "max_lr"],
        "the learning rate belongs to a policy, `[policies.NAME]`, as `base_lr` or `max_lr`",
    ),
    at(
        OPTION,
        &["solver_type", "opt", "class_name", "opt_func", "name", "algorithm"],
        "write `kind = \"..\"`, such as `\"nesterov\"` or `\"adam\"`",
    ),
    // Groups of parameters.
    at(
        OPTION,
        &[
            "param_groups",
            "parameter_groups",
            "paramwise_cfg",
            "no_weight_decay",
            "no_decay",
            "lr_mult",
            "decay_mult",
            "blobs_lr",
            "layer_decay",
        ],
        "write `[[optimizers.NAME.groups]]` with `parameters = \"*.bias\"`, and `lr_mult` or `decay_mult`",
    ),
    at(
        GROUP,
        &["params", "pattern", "patterns", "match", "regex", "name", "names", "layer", "layers", "module", "modules"],
        "write `parameters`, such as `\"*.bias\"`",
    ),
    at(
        GROUP,
        &["lr", "learning_rate", "base_lr", "max_lr", "lr_scale", "lr_factor", "blobs_lr"],
        "write `lr_mult`: a group follows the policy's learning rate, times that",
    ),
    at(
        GROUP,
        &["weight_decay", "wd", "decay", "wd_mult", "weight_decay_mult"],
        "write `decay_mult`: a group has the optimizer's weight decay, times that; 0 is without",
    ),
    // Sections.
    at(
        SECTION,
        &[
            "iter_size",
            "gradient_accumulation_steps",
            "accumulate_grad_batches",
            "accumulation_steps",
            "grad_accum",
            "grad_accum_steps",
        ],
        "write `train.accumulate`, of how many batches an update is",
    ),
    at(
        SECTION,
        &["optim", "optimiser", "solver", "solver_type", "opt_func", "learner"],
        "an optimizer is a table of its own, `[optimizers.NAME]`, with `kind = \"..\"`",
    ),
    at(
        SECTION,
        &[
            "max_iter",
            "max_steps",
            "total_steps",
            "num_steps",
            "num_iterations",
            "steps",
            "n_iters",
            "niter",
            "train_steps",
        ],
        "write `train.iterations = 25_000`",
    ),
    at(
        SECTION,
        &["epochs", "num_epochs", "max_epochs", "n_epochs", "n_epoch", "nb_epoch", "num_train_epochs", "total_epochs"],
        "write `train.iterations = \"10 epochs\"`",
    ),
    at(
        SECTION,
        &[
            "test_interval",
            "val_interval",
            "eval_interval",
            "eval_steps",
            "val_check_interval",
            "validation_freq",
            "eval_freq",
            "check_val_every_n_epoch",
            "eval_every_epochs",
        ],
        "write `train.eval_every`, such as `500` or `\"1 epoch\"`",
    ),
    at(
        SECTION,
        &[
            "snapshot",
            "save_steps",
            "save_every",
            "save_freq",
            "checkpoint_every",
            "checkpoint_interval",
            "save_interval",
        ],
        "write `checkpoint.every`, such as `\"5 min\"` or `\"500 iterations\"`",
    ),
    at(
        SECTION,
        &["save_best_only", "save_best", "save_last", "save_top_k", "snapshot_prefix", "save_weights"],
        "write `checkpoint.keep = \"best\"` or `\"last\"`",
    ),
    at(
        SECTION,
        &["seed", "random_seed", "manual_seed", "random_state", "rng_seed", "num_seeds"],
        "write `experiment.seeds = [1]`",
    ),
    at(SECTION, &["exp_name", "experiment_name", "run_name", "run", "title"], "write `experiment.name`"),
    at(
        SECTION,
        &["net", "network", "arch", "architecture_name", "model_name", "backbone", "train_net"],
        "write `model.plugin` and `model.architecture`; `clr-run plugin list` has them",
    ),
    at(
        SECTION,
        &["dataset_name", "train_data", "data_dir", "data_path", "source", "root"],
        "write `data.dataset`; where datasets are is `--data DIR`",
    ),
    at(
        SECTION,
        &["bs", "batch", "batchsize", "train_batch_size", "per_device_train_batch_size", "minibatch"],
        "write `data.batch_size`",
    ),
    at(SECTION, &["shuffle", "shuffle_data"], "write `data.order = \"shuffled\"` or `\"stored\"`"),
    at(
        SECTION,
        &["drop_last", "drop_remainder", "last_batch_policy"],
        "write `data.last_batch = \"drop\"`, `\"keep\"` or `\"wrap\"`",
    ),
    at(
        SECTION,
        &["validation_split", "val_split", "valid_pct", "val_size", "val_fraction", "valid_size", "holdout"],
        "write `data.validation`, how many training images are held out, or which share",
    ),
    at(
        SECTION,
        &["test_size", "test_split", "test_fraction", "test_pct"],
        "write `data.test_share` where a dataset has no test set of its own, `data.test` to use some of its images only",
    ),
    at(
        SECTION,
        &["image_size", "img_size", "resize_to", "imsize"],
        "write `data.resize`, the shorter side, and `data.crop`, the side of the square that is cut from the middle",
    ),
    at(
        SECTION,
        &["mirror", "hflip", "horizontal_flip", "random_flip", "RandomHorizontalFlip", "flip_lr"],
        "write `data.flip = true`",
    ),
    at(
        SECTION,
        &["padding", "random_crop", "RandomCrop", "crop_padding"],
        "write `data.pad = 4`: zeros around the image, then a random crop back to its size",
    ),
    at(
        SECTION,
        &["crop_size", "train_crop_size", "val_crop_size"],
        "write `data.input_size = 224`: what the model sees of larger images",
    ),
    at(
        SECTION,
        &["RandomResizedCrop", "random_resized_crop", "crop_scale", "rrc"],
        "write `data.input_size = 224` and `data.min_area = 0.08`",
    ),
    at(
        SECTION,
        &["ColorJitter", "color_jitter", "pca_noise", "Lighting", "alphastd"],
        "write `data.lighting = 0.1`: noise along the principal components of ImageNet's colours",
    ),
    at(
        SECTION,
        &[
            "mean_file",
            "mean",
            "std",
            "transform",
            "transforms",
            "normalization",
            "standardize",
            "mean_value",
            "rescale",
        ],
        "write `data.normalize` and `data.scale`",
    ),
    at(
        SECTION,
        &["amp", "fp16", "bf16", "mixed_precision", "half", "autocast", "dtype", "float16", "tf32"],
        "write `train.precision = \"f32\"`, `\"tf32\"` or `\"bf16\"`",
    ),
    at(
        SECTION,
        &["early_stopping", "early_stop", "terminate_on_nan", "detect_anomaly", "nan_guard"],
        "write `train.stop_on_divergence` and `train.max_loss`; no trial stops early for another reason",
    ),
    at(SECTION, &["timeout", "max_time", "time_limit", "wall_time"], "write `limits.time`, such as `\"2 h\"`"),
    at(
        SECTION,
        &["sweep", "search_space", "hyperparameters", "param_grid", "parameters", "axes", "search"],
        "a list where a key takes one value is an axis of the grid, as in `max_lr = [0.005, 0.006]`; `[grid]` has `zip` and `exclude`",
    ),
    at(
        SECTION,
        &[
            "weight_decay",
            "wd",
            "momentum",
            "momentum2",
            "betas",
            "eps",
            "nesterov",
            "rms_decay",
            "regularization_type",
        ],
        "it belongs to an optimizer, `[optimizers.NAME]`, as `weight_decay`, `momentum`, `beta1`, `beta2`, `epsilon` or `kind = \"nesterov\"`",
    ),
    at(
        SECTION,
        &["base_lr", "max_lr", "gamma", "power", "milestones"],
        "it belongs to a policy, `[policies.NAME]`, as `base_lr`, `max_lr`, `gamma`, `power` or `milestones`",
    ),
];

/// The advice for a word of another tool that stands at `place`.
pub fn answer(word: &str, place: Place) -> Option<&'static str> {
    // `torch.optim.lr_scheduler.StepLR`, and `optim.SGD` too.
    let word = plain(word.rsplit(['.', ':', '/']).next().unwrap_or(word));
    let known = FOREIGN.iter().filter(|foreign| foreign.places.contains(&place));
    let mut known = known.filter(|foreign| foreign.words.iter().any(|known| plain(known) == word));
    known.next().map(|foreign| foreign.answer)
}

/// One sentence that leads from a word to what to write: for a word of another tool, or else the nearest of the names that
/// were possible.
pub fn help<'a>(word: &str, place: Place, possible: impl IntoIterator<Item = &'a str>) -> String {
    answer(word, place).map_or_else(|| suggest::help(word, possible), str::to_owned)
}

/// True if `name` is the first of our names in the advice for a key.
pub fn means(word: &str, name: &str) -> bool {
    [Place::ScheduleKey, Place::Section].into_iter().filter_map(|place| answer(word, place)).any(|answer| {
        let first = answer.split('`').nth(1).and_then(|quoted| quoted.split('=').next()).unwrap_or_default();
        first.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|ours| ours == name)
    })
}

/// True for keys by which other tools choose the kind of a schedule.
pub fn means_kind(word: &str) -> bool {
    answer(word, Place::ScheduleKey).is_some_and(|answer| answer.starts_with("write `kind = \"..\"`"))
}

fn plain(word: &str) -> String {
    word.chars().filter(|c| !"_-".contains(*c)).flat_map(char::to_lowercase).collect()
}
