# mmssl with its command, on a CPU or a GPU.
#
#   docker build -t mmssl .
#   docker build -t mmssl --build-arg TORCH_INDEX_URL=https://download.pytorch.org/whl/cu126 .
#   docker run --rm -it --ipc=host -v "$PWD:/work" mmssl pretrain images
#   docker run --rm -it --ipc=host --gpus all -v "$PWD:/work" mmssl train CONFIG
FROM python:3.12-slim-bookworm

ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1

COPY requirements /tmp/mmssl/requirements
# packages that others need change less often than ours
RUN pip install -c /tmp/mmssl/requirements/constraints.txt \
        --extra-index-url "${TORCH_INDEX_URL}" torch torchvision \
    && pip install -c /tmp/mmssl/requirements/constraints.txt \
        -r /tmp/mmssl/requirements/runtime.txt -r /tmp/mmssl/requirements/deploy.txt

COPY . /tmp/mmssl
RUN pip install --no-deps /tmp/mmssl && rm -rf /tmp/mmssl && mmssl doctor \
    && useradd --create-home --uid 1000 user
USER 1000
WORKDIR /work
ENTRYPOINT ["mmssl"]
CMD ["--help"]
