"""The `vllm` engine: models in vLLM's processes, on GPUs or a CPU, for many completions at once.

`engine` keeps the policy's contract; `core` is the thread that owns the model and survives its processes;
`process` is one run of vLLM; `worker` is what is loaded into vLLM's own processes; `files` looks at weights
before a model does. Importing this package loads neither vLLM nor torch.
"""
