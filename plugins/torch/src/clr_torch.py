"""The Python side of the plugin `torch`.

A worker of clr-run starts this once, with a socket to it as standard input. It imports torch and then waits for orders: each `fork`
makes a copy of this process, with three file descriptors that came with the order: a socket, on which the copy is asked to train
one trial; a piece of shared memory, in which the images and labels of a batch lie; and a pipe for whatever the user's code prints.
So a trial starts in milliseconds, shares no state with another, and takes no other along when it ends.

A message is four bytes with its length, a JSON object, and, where that has `bytes`, so many bytes more. Numbers that may be no
number are texts, which JSON has and NaN it has not.
"""

import copy
import ctypes
import gc
import hashlib
import inspect
import json
import linecache
import os
import random
import signal
import socket
import struct
import sys
import traceback
import types

PROTOCOL = 1


# ---- Messages ------------------------------------------------------------------------------------------------------------------


def read(channel, count):
    data = bytearray()
    while len(data) < count:
        part = channel.recv(min(count - len(data), 1 << 20))
        if not part:
            os._exit(0)  # Whoever asks is gone, or is done.
        data += part
    return data


def receive(channel):
    (length,) = struct.unpack("<I", read(channel, 4))
    message = json.loads(read(channel, length))
    return message, read(channel, message.get("bytes", 0))


def receive_with_descriptors(channel):
    data, descriptors, _, _ = socket.recv_fds(channel, 4, 8)
    if not data:
        os._exit(0)
    data += read(channel, 4 - len(data))
    return json.loads(read(channel, struct.unpack("<I", data)[0])), descriptors


def send(channel, message, payload=b""):
    text = json.dumps({**message, "bytes": len(payload)}).encode()
    channel.sendall(struct.pack("<I", len(text)) + text + payload)


# ---- Errors --------------------------------------------------------------------------------------------------------------------


class Refused(Exception):
    """The user asked for what cannot be; the text says why, and needs no traceback."""


class Unsupported(Exception):
    """What was asked for is not installed here, or not possible on this device."""


MOST_TEXT = 900


def described(error):
    """The error and where it is, in one line, and below it the frames of the user's code, in a text that fits a message of the ABI."""
    text = "".join(traceback.format_exception_only(type(error), error)).strip()
    if isinstance(error, SystemExit):
        text = f"the module called exit({error.code!r})"
    elif isinstance(error, ModuleNotFoundError):
        text += (
            " (clr-run gives Python the text of the one file that the spec names, which a trial's id can tell of; what else it imports"
            " must be installed, or be on PYTHONPATH)"
        )
    *before, text = text.split("\n") if isinstance(error, SyntaxError) else [text]
    if len(text) > 500:
        text = text[:240] + " ... " + text[-240:]
    torch_home = os.path.dirname(sys.modules["torch"].__file__)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    own = [frame for frame in frames if not frame.filename.startswith((torch_home, "<frozen"))] or frames[-1:]
    if own and not before:
        text += f" ({own[-1].filename}, line {own[-1].lineno}, in {own[-1].name})"
    lines = ["  " + line for line in before[:3]]
    room = MOST_TEXT - len(text) - sum(map(len, lines))
    for frame in reversed(own):
        line = f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}\n    {(frame.line or "").strip()}'
        room -= len(line) + 1
        if room < 0:
            lines.insert(0, "  ...")
            break
        lines.insert(0, line)
    return "\n".join([text, *lines])


def failure(error, kind):
    """The message that says why something could not be done. `kind` is for errors of the user's code."""
    name, text = type(error).__name__, str(error)
    if isinstance(error, Refused):
        return {"error": "invalid", "message": text}
    if isinstance(error, Unsupported):
        return {"error": "unsupported", "message": text}
    if isinstance(error, MemoryError) or name == "OutOfMemoryError" or "can't allocate memory" in text:
        kind = "memory"
    elif name == "AcceleratorError" or "CUDA error" in text:
        kind = "device"
    return {"error": kind, "message": described(error)}


# ---- The user's code -----------------------------------------------------------------------------------------------------------


def load(source):
    """The module with this text, which bears the name of its file in tracebacks."""
    name, text = source["file"], source["text"]
    module = types.ModuleType("clr_user_" + os.path.splitext(name)[0])
    module.__file__ = name
    sys.modules[module.__name__] = module  # Where dataclasses and pickle look for a class's module.
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    exec(compile(text, name, "exec", dont_inherit=True), module.__dict__)
    return module


def find(source, function, option="function"):
    found = getattr(load(source), function, None)
    if not callable(found):
        raise Refused(f"`{option}`: {source['file']} has no function or class `{function}`")
    return found


def given(function, name, offered, arguments):
    """The arguments for a function: the user's own, and of what is offered that which it has a parameter for."""
    parameters = inspect.signature(function).parameters.values()
    takes_any = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters)
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    names = [parameter.name for parameter in named]
    for argument in arguments:
        if argument not in names and not takes_any:
            known = ", ".join(names) or "none"
            raise Refused(f"`arguments`: {name} has no parameter `{argument}`; it has {known}")
    values = {key: value for key, value in offered.items() if key in names and key not in arguments}
    values.update(arguments)
    for parameter in named:
        if parameter.default is parameter.empty and parameter.name not in values:
            raise Refused(
                f"`arguments` has no value for the parameter `{parameter.name}` of {name};"
                f" clr-run itself gives {', '.join(offered)}"
            )
    return values


def build_model(settings):
    """A new model, with weights that are drawn from the generator as it is."""
    options, architecture = settings["options"], settings["model"]
    channels, height, width = settings["image_shape"]
    offered = {
        "class_count": settings["class_count"],
        "num_classes": settings["class_count"],
        "image_shape": (channels, height, width),
    }
    arguments = options["arguments"]
    if architecture == "module":
        name = options["function"]
        function = find(options["file"], name)
        model = function(**given(function, f"{name}()", offered, arguments))
    elif architecture == "torchvision":
        models = imported("torchvision", "torchvision.models").models
        if options["name"] not in models.list_models():
            raise Refused(f"`name`: torchvision has no model `{options['name']}`")
        model = models.get_model(options["name"], weights=None, **{"num_classes": settings["class_count"], **arguments})
    else:
        timm = imported("timm", "timm")
        if options["name"] not in timm.list_models():
            raise Refused(f"`name`: timm has no model `{options['name']}`")
        own = {"num_classes": settings["class_count"], "in_chans": channels, **arguments}
        model = timm.create_model(options["name"], pretrained=False, **own)
    if not isinstance(model, torch.nn.Module):
        raise Refused(f"`function`: {options['function']}() gives a {type(model).__name__}, and not a torch.nn.Module")
    if any(torch.nn.parameter.is_lazy(tensor) for tensor in [*model.parameters(), *model.buffers()]):
        with torch.no_grad():
            model(torch.zeros(2, channels, height, width))  # Lazy layers take their sizes from what they see first.
    return model


def imported(package, module):
    try:
        __import__(module)
    except ImportError as error:
        raise Unsupported(f"{sys.executable} cannot import {package}: {error}; install it with pip") from None
    return sys.modules[package]


# ---- Optimizers ----------------------------------------------------------------------------------------------------------------


def build_optimizer(options, groups):
    """The optimizer that a lane's options name. Its hyper-parameters are set before every step."""
    kind, optim = options["optimizer"], torch.optim
    epsilon = {"eps": options["epsilon"]} if "epsilon" in options else {}
    if kind == "sgd":
        return optim.SGD(groups, lr=0.0)
    if kind == "nesterov":
        return optim.SGD(groups, lr=0.0, momentum=0.9, nesterov=True)
    if kind == "adam":
        return optim.Adam(groups, lr=0.0, **epsilon)
    if kind == "amsgrad":
        return optim.Adam(groups, lr=0.0, amsgrad=True, **epsilon)
    if kind == "adamw":
        return optim.AdamW(groups, lr=0.0, **epsilon)
    if kind == "rmsprop":
        return optim.RMSprop(groups, lr=0.0, alpha=options["rms_decay"], **epsilon)
    if kind == "adagrad":
        return optim.Adagrad(groups, lr=0.0, **epsilon)
    if kind == "adadelta":
        return optim.Adadelta(groups, lr=0.0, rho=options["rho"], **epsilon)
    made = find(options["file"], options["function"])(groups)
    if not isinstance(made, optim.Optimizer):
        raise Refused(f"`function`: {options['function']}() gives a {type(made).__name__}, and not a torch.optim.Optimizer")
    return made


def parameter_groups(options, parameters):
    """Groups for torch.optim: parameters of equal multipliers."""
    groups = {(1.0, 1.0): []}
    mults = {}
    for group in options["groups"]:
        for name in group["parameters"]:
            if name not in parameters:
                raise Refused(f"`groups` of an optimizer: there is no parameter `{name}`")
            if name in mults:
                raise Refused(f"`groups` of an optimizer: `{name}` is there twice")
            mults[name] = (group["lr_mult"], group["decay_mult"])
    for name, parameter in parameters.items():
        groups.setdefault(mults.get(name, (1.0, 1.0)), []).append(parameter)
    return [
        {"params": members, "lr_mult": lr_mult, "decay_mult": decay_mult}
        for (lr_mult, decay_mult), members in groups.items()
        if members
    ]


def set_hypers(optimizer, hypers):
    for group in optimizer.param_groups:
        group["lr"] = hypers["lr"] * group["lr_mult"]
        if "weight_decay" in group:
            group["weight_decay"] = hypers["weight_decay"] * group["decay_mult"]
        if "momentum" in group and "momentum" in hypers:
            group["momentum"] = hypers["momentum"]
        if "betas" in group and "beta1" in hypers:
            group["betas"] = (hypers["beta1"], hypers["beta2"])


def kept_by(options, parameters):
    """What the optimizer keeps for each parameter, in order: (parameter, key, value). Found by a step of a twin on zeros."""
    twins = {name: torch.zeros_like(parameter, requires_grad=True) for name, parameter in parameters.items()}
    optimizer = build_optimizer(options, parameter_groups(options, twins))
    set_hypers(optimizer, {"weight_decay": 0.0, **{name: 0.5 for name in options["hypers"]}})
    for twin in twins.values():
        twin.grad = torch.zeros_like(twin)
    optimizer.step()
    return [
        (name, key, value if torch.is_tensor(value) else as_tensor(value))
        for name, twin in twins.items()
        for key, value in optimizer.state.get(twin, {}).items()
        if torch.is_tensor(value) or isinstance(value, (bool, int, float))
    ]


def as_tensor(number):
    return torch.tensor(number, dtype=torch.float64 if isinstance(number, float) else torch.int64)


# ---- Tensors as float32, which is what the state of a lane is ---------------------------------------------------------------------

EXACT = ("float16", "bfloat16", "bool", "uint8", "int8", "int16")


def encoded(tensor):
    """A tensor as float32, from which `decoded` makes the same again: integers in three parts of 24 bits, float64 by its halves."""
    tensor = tensor.detach().cpu()
    name = str(tensor.dtype).removeprefix("torch.")
    if name == "float32":
        return tensor.contiguous()
    if name in EXACT:
        return tensor.float().contiguous()
    if name in ("int32", "int64"):
        return torch.stack([(tensor.long() >> (24 * part)) & 0xFFFFFF for part in range(3)], -1).float()
    if name == "float64":
        return tensor.unsqueeze(-1).contiguous().view(torch.float32)
    if tensor.is_complex():
        return encoded(torch.view_as_real(tensor))
    raise Refused(f"a tensor of type {name} cannot be saved")


def decoded(values, like):
    name = str(like.dtype).removeprefix("torch.")
    if name in ("int32", "int64"):
        parts = values.reshape(*like.shape, 3).long()
        values = parts[..., 0] | parts[..., 1] << 24 | parts[..., 2] << 48
    elif name == "float64":
        values = values.reshape(*like.shape, 2).view(torch.float64)
    elif like.is_complex():
        values = torch.view_as_complex(decoded(values, torch.view_as_real(like.detach().cpu())))
    return values.reshape(like.shape).to(device=like.device, dtype=like.dtype)


def values_of(payload):
    return torch.frombuffer(payload, dtype=torch.float32) if payload else torch.zeros(0)


def bytes_of(tensor):
    return ctypes.string_at(tensor.data_ptr(), tensor.numel() * 4) if tensor.numel() else b""


# ---- A trial -------------------------------------------------------------------------------------------------------------------


def seed_everything(*key):
    """Sets all generators by a key, so that what is random in a step follows from the trial and the step."""
    digest = hashlib.blake2b(struct.pack(f"<{len(key)}Q", *key), digest_size=8).digest()
    seed_generators(int.from_bytes(digest, "little"))


def seed_generators(seed):
    torch.manual_seed(seed)
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % (1 << 32))


# Uses of the seed of a trial: for steps and for evaluations.
STEP, EVALUATION, AVERAGING = 0, 1, 2


class Trial:
    def __init__(self, settings, memory):
        self.settings = settings
        options = settings["options"]
        self.device = torch.device(settings["device"])
        self.seed = settings["init_seed"]
        self.accumulate = options["accumulate"]
        self.precision = options["precision"]
        self.format = torch.channels_last if options["channels_last"] else torch.contiguous_format
        # As `torch.manual_seed(seed)` before a model is made by hand.
        seed_generators(self.seed)
        self.model = build_model(settings).to(device=self.device, memory_format=self.format)
        self.forward = torch.compile(self.model) if options["compile"] else self.model
        self.parameters = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        if not self.parameters:
            raise Refused("the module has no parameter to train")
        self.is_training = None
        self.kept = kept_by(settings["lane"], self.parameters)
        self.renew_optimizer()
        self.loss = self.model.loss if callable(getattr(self.model, "loss", None)) else None
        if memory is not None:
            count, (channels, height, width) = settings["batch_size"], settings["image_shape"]
            images = count * channels * height * width
            self.images = torch.frombuffer(memory, dtype=torch.float32, count=images).view(count, channels, height, width)
            self.labels = torch.frombuffer(memory, dtype=torch.int64, count=count, offset=settings["labels_at"])

    def renew_optimizer(self):
        """An optimizer as at step 0."""
        lane = self.settings["lane"]
        self.optimizer = build_optimizer(lane, parameter_groups(lane, self.parameters))
        self.is_fresh = True

    def train(self, is_training):
        if self.is_training != is_training:
            self.model.train(is_training)
            self.is_training = is_training

    def batch(self, count):
        images, labels = self.images[:count], self.labels[:count]
        if self.device.type != "cpu":
            images, labels = images.to(self.device), labels.to(self.device)
        return images.contiguous(memory_format=self.format), labels

    def outputs(self, images):
        if self.precision == "bf16":
            with torch.autocast(self.device.type, dtype=torch.bfloat16):
                return self.forward(images)
        return self.forward(images)

    def measured(self, images, labels):
        """The mean loss over a batch, and how many of it are right."""
        outputs = self.outputs(images)
        scores = outputs if torch.is_tensor(outputs) else outputs[0]
        if self.loss is not None:
            loss = self.loss(outputs, labels)
        elif not torch.is_tensor(outputs):
            kind = type(outputs).__name__
            raise TypeError(f"forward() gives a {kind}, and the module has no loss(outputs, labels) that would take it")
        else:
            loss = torch.nn.functional.cross_entropy(scores.float(), labels)
        if scores.dim() != 2 or scores.shape[0] != len(labels):
            raise ValueError(f"forward() gives scores of shape {list(scores.shape)} for {len(labels)} images: expected [images, classes]")
        return loss, (scores.detach().argmax(1) == labels).sum()

    def step(self, message, _):
        count = message["count"]
        if message["step"] == 0 and not self.is_fresh:
            self.renew_optimizer()
        self.is_fresh = False
        seed_everything(self.seed, STEP, message["step"])
        self.train(True)
        self.optimizer.zero_grad(set_to_none=True)
        images, labels = self.batch(count)
        part = -(-self.settings["batch_size"] // self.accumulate)
        losses, right = [], []
        for first in range(0, count, part):
            last = min(first + part, count)
            loss, correct = self.measured(images[first:last], labels[first:last])
            if count > part:
                loss = loss * ((last - first) / count)
            loss.backward()
            losses.append(loss.detach())
            right.append(correct)
        gradients = [p.grad for p in self.parameters.values() if p.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g.float()) for g in gradients]))
        longest = self.settings["lane"]["clip_gradients"]
        if longest > 0:
            scale = torch.clamp(longest / norm, max=1.0)  # A norm that is no number stays one.
            torch._foreach_mul_(gradients, scale)
        set_hypers(self.optimizer, {name: float(value) for name, value in message["hypers"].items()})
        self.optimizer.step()
        loss, right, norm = torch.stack([sum(losses).double(), sum(right).double(), norm.double()]).tolist()
        return {"metrics": [repr(loss), repr(right / count), repr(norm)]}, b""

    def evaluate(self, message, _):
        """The sum of the losses of a batch, and how many of it are right."""
        seed_everything(self.seed, EVALUATION, message["first"])
        self.train(False)
        with torch.no_grad():
            loss, right = self.measured(*self.batch(message["count"]))
        return {"metrics": [repr(loss.double().item() * message["count"]), repr(float(right.item()))]}, b""

    def scores(self, message, _):
        seed_everything(self.seed, EVALUATION, message["first"])
        self.train(False)
        with torch.no_grad():
            outputs = self.outputs(self.batch(message["count"])[0])
        scores = outputs if torch.is_tensor(outputs) else outputs[0]
        return {}, bytes_of(scores.float().cpu().contiguous())

    def average_statistics(self, message, _):
        """A batch of the plain averages that batch normalisation is to have (`torch.optim.swa_utils.update_bn`)."""
        norms = [module for module in self.model.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
        if message["first"] == 0:
            self.momenta = [module.momentum for module in norms]
            for module in norms:
                module.reset_running_stats()
                module.momentum = None
        seed_everything(self.seed, AVERAGING, message["first"])
        self.train(True)
        if norms:
            with torch.no_grad():
                self.outputs(self.batch(message["count"])[0])
        if message["is_last"]:
            for module, momentum in zip(norms, self.momenta):
                module.momentum = momentum
        return {}, b""

    # The state: weights, buffers, and what the optimizer keeps. Names, order and shapes are those of the start.

    def table(self):
        """(name, role, tensor) of each tensor of the state."""
        table = [(name, "weight", parameter) for name, parameter in self.model.named_parameters()]
        table += [(name, "buffer", buffer) for name, buffer in self.model.named_buffers()]
        table += [(f"{name}.{key}", "optimizer", value) for name, key, value in self.kept]
        # Which of those there are: momentum, say, begins with the first gradient.
        return [*table, (PRESENT, "optimizer", torch.zeros(len(self.kept)))]

    def described_table(self):
        shapes = [(name, role, list(encoded(tensor).shape)) for name, role, tensor in self.table()]
        return [[name, role, shape if len(shape) <= 6 else [int(torch.tensor(shape).prod())]] for name, role, shape in shapes]

    def kept_value(self, index):
        name, key, like = self.kept[index]
        value = self.optimizer.state.get(self.parameters[name], {}).get(key)
        if value is None:
            return torch.zeros_like(like)
        return value if torch.is_tensor(value) else as_tensor(value)

    def save(self, message, _):
        index, first_kept = message["tensor"], len(self.table()) - 1 - len(self.kept)
        if index < first_kept:
            tensor = self.table()[index][2]
        elif index < first_kept + len(self.kept):
            tensor = self.kept_value(index - first_kept)
        else:
            has = lambda name, key: self.optimizer.state.get(self.parameters[name], {}).get(key) is not None
            tensor = torch.tensor([float(has(name, key)) for name, key, _ in self.kept])
        return {}, bytes_of(encoded(tensor))

    def load(self, message, payload):
        index, values = message["tensor"], values_of(payload)
        table = self.table()
        first_kept = len(table) - 1 - len(self.kept)
        if index < first_kept:
            with torch.no_grad():
                table[index][2].copy_(decoded(values, table[index][2]))
        elif index < first_kept + len(self.kept):
            name, key, like = self.kept[index - first_kept]
            now = self.optimizer.state.get(self.parameters[name], {}).get(key)
            value = decoded(values, like)
            is_number = now is not None and not torch.is_tensor(now)
            self.optimizer.state[self.parameters[name]][key] = value.item() if is_number else value.clone()
        else:
            for (name, key, _), has in zip(self.kept, values.tolist()):
                state = self.optimizer.state[self.parameters[name]]
                if not has:
                    state.pop(key, None)
                if not state:
                    del self.optimizer.state[self.parameters[name]]
        self.is_fresh = False
        return {}, b""


PRESENT = "(optimizer state present)"


def size(tensor):
    return tensor.numel() * tensor.element_size()


def bytes_for(trial, settings):
    """About how many bytes a trial takes: weights, gradients, buffers, and what the forward pass keeps for the backward pass."""
    model = trial.model
    total = 2 * sum(map(size, model.parameters())) + sum(map(size, model.buffers()))
    seen = {id(parameter) for parameter in model.parameters()}
    kept = {}

    def note(tensor):
        if id(tensor) not in seen:
            kept[tensor.untyped_storage()._cdata] = size(tensor)
        return tensor

    try:
        # On the device `meta` tensors have shapes and nothing else.
        twin = copy.deepcopy(model).to("meta").train()
        seen.update(map(id, twin.parameters()))
        part = -(-settings["batch_size"] // settings["options"]["accumulate"])
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            twin(torch.zeros(part, *settings["image_shape"], device="meta"))
    except Exception:
        pass  # Code that looks at values cannot be tried so: its activations are not counted.
    return total + sum(kept.values())


def numerics(settings):
    """What decides the bits besides the trial and the plugin: the device's kind, and the versions of torch and Python."""
    device = torch.device(settings["device"])
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        kind = f"cuda-sm{major}{minor}"
    else:
        kind = "cpu-" + torch.backends.cpu.get_cpu_capability().lower()
    words = [kind, "torch" + torch.__version__, "py" + ".".join(map(str, sys.version_info[:3]))]
    if settings["model"] != "module":
        words.append(sys.modules[settings["model"]].__version__)
    return "-".join(words)


def configure(settings):
    """Sets what holds for the whole process: threads, and arithmetic that gives the same bits each time."""
    device = settings["device"]
    torch.set_num_threads(settings["options"]["threads"])
    if device != "cpu":
        if not torch.cuda.is_available():
            raise Unsupported(f"torch {torch.__version__} of {sys.executable} finds no GPU that it can use")
        if torch.device(device).index >= torch.cuda.device_count():
            raise Unsupported(f"there is no {device}: torch sees {torch.cuda.device_count()} GPUs")
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = settings["options"]["precision"] == "tf32"
        torch.backends.cudnn.benchmark = False
    elif settings["options"]["precision"] != "f32":
        raise Unsupported(f"precision {settings['options']['precision']} exists on GPUs only")
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # Costs time, and nothing here reads such memory.


def probe(settings):
    """What a session would take, after all that can be wrong with its lanes was tried."""
    configure(settings)
    kept = 0
    for lane in {json.dumps(lane): lane for lane in settings["lanes"]}.values():
        trial = Trial({**settings, "lane": lane, "init_seed": 0}, None)
        kept = max(kept, sum(size(like) for _, _, like in trial.kept))
    parameters = [[name, parameter.numel()] for name, parameter in trial.parameters.items()]
    return {"bytes_per_lane": bytes_for(trial, settings) + kept, "numerics": numerics(settings), "parameters": parameters}


def serve_trial(channel, memory):
    """Answers what a lane is asked, until nobody asks any more."""
    trial = None
    while True:
        message, payload = receive(channel)
        ask = message["ask"]
        try:
            if ask == "start":
                configure(message)
                trial = Trial(message, memory)
                answer = {"tensors": trial.described_table()}, b""
            elif ask == "probe":
                answer = probe(message), b""
            else:
                answer = getattr(trial, ask)(message, payload)
        except BaseException as error:  # An exit of the user's code too.
            answer = failure(error, "invalid" if ask in ("start", "probe") else "internal"), b""
        send(channel, *answer)


# ---- Processes -----------------------------------------------------------------------------------------------------------------


def die_with(parent):
    """Ends this process as soon as its parent is gone, whatever it computes then. Only Linux can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def lane(descriptors, parent):
    """The copy of the process that trains one trial."""
    import faulthandler
    import mmap

    die_with(parent)
    channel = socket.socket(fileno=descriptors[0])
    os.dup2(descriptors[2], 1)
    os.dup2(descriptors[2], 2)
    os.close(descriptors[2])
    sys.stdout = open(1, "w", buffering=1, errors="replace", closefd=False)
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    faulthandler.enable()
    size = os.fstat(descriptors[1]).st_size
    memory = mmap.mmap(descriptors[1], size) if size else None
    os.close(descriptors[1])
    serve_trial(channel, memory)


def main(control, parent):
    die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The user's Ctrl-C is the host's to handle.
    global torch
    try:
        import torch

        torch.set_num_interop_threads(1)
        # What torch loads with the first update is loaded here, once. No pass goes backward: that would start threads.
        weight = torch.zeros(1, requires_grad=True)
        weight.grad = torch.zeros(1)
        torch.optim.Adam([weight]).step()
        gc.collect()
        gc.freeze()
    except BaseException as error:
        send(control, {"error": "unsupported", "message": f"{sys.executable} cannot import torch: {type(error).__name__}: {error}"})
        os._exit(1)
    send(control, {"protocol": PROTOCOL})
    own = os.getpid()
    while True:
        message, descriptors = receive_with_descriptors(control)
        if message["ask"] == "fork":
            process = os.fork()
            if process == 0:
                try:
                    control.close()
                    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                    lane(descriptors, own)
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(1)
            for descriptor in descriptors:
                os.close(descriptor)
            send(control, {"process": process})
        elif message["ask"] == "ping":
            send(control, {})
        else:
            os.kill(message["process"], signal.SIGKILL)
            _, status = os.waitpid(message["process"], 0)
            send(control, {"code": os.waitstatus_to_exitcode(status)})
