"""The training loop that one writes by hand, beside which benches/beside_a_loop.rs measures the plugin: python loop.py MODELS BATCH

For each line on standard input, which has a number of steps, it makes these and prints their seconds and the last loss.
"""
import importlib.util
import sys
import time

import torch

spec = importlib.util.spec_from_file_location("models", sys.argv[1])
models = importlib.util.module_from_spec(spec)
spec.loader.exec_module(models)
batch = int(sys.argv[2])

torch.set_num_threads(1)
count = 4 * batch
pixels = torch.tensor([i * 7919 % 251 for i in range(count * 3072)], dtype=torch.uint8)
images = pixels.view(count, 32, 32, 3)
labels = torch.arange(count) % 10
torch.manual_seed(1)
model = models.resnet18(10, (3, 32, 32)).train()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=0.0005)
step = 0
for line in sys.stdin:
    started = time.perf_counter()
    for _ in range(int(line)):
        first = step * batch % count
        x = ((images[first : first + batch].float() - 128.0) * 0.015625).permute(0, 3, 1, 2).contiguous()
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), labels[first : first + batch])
        loss.backward()
        optimizer.step()
        value = loss.item()
        step += 1
    print(time.perf_counter() - started, value, flush=True)
