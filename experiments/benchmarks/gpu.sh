#!/bin/bash
# Everything that has to be measured on a GPU, in six minutes, most important first, written as it goes.
#
#     bash experiments/benchmarks/gpu.sh PATH/TO/vhr10 [OUT] [SECONDS]
#
# OUT/results.jsonl has a line for each step, OUT/table.md the figures against their targets, OUT/*.log what was printed.
# A folder of data with some of its images will do. PYTHON names the interpreter (python3). The data are in DOTA form.
set -u
data=$(cd "$1" && pwd)
out=${2:-work_dirs/gpu}
limit=${3:-360}
python=${PYTHON:-python3}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")/../.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
: > "$out/results.jsonl"

# step NAME SECONDS COMMAND...: run it for so long at most, keep what it printed, and write the table anew.
step() {
    local name=$1 most=$2 left=$((limit - SECONDS)) began=$SECONDS code
    shift 2
    [ "$left" -lt 10 ] && { echo "$name: no time left"; return 1; }
    timeout -k 5 $((most < left ? most : left)) "$@" > "$out/$name.log" 2>&1
    code=$?
    echo "$name: $((SECONDS - began)) s, exit status $code"
    "$python" -m experiments.benchmarks.gpu_table add "$out" "$name" $((SECONDS - began)) $code
    return $code
}

# The part of the data that is here.
step data 30 "$python" -m experiments.benchmarks.gpu_table data "$data" "$out/data"
step machine 30 "$python" -m experiments.benchmarks.gpu_table machine "$out/machine.json"
step checkpoint 90 "$python" -m experiments.vhr10.checkpoint --data "$out/data" --out "$out/detector" --iterations 240
throughput=("$python" -m experiments.benchmarks.prediction.throughput "$out/detector" "$out/data/images" --device cuda:0)
nvidia-smi --query-gpu=utilization.gpu --format=csv,noheader,nounits -lms 200 > "$out/utilisation.txt" 2> /dev/null &
sampling=$!
step predict_640 60 "${throughput[@]}" --size 640 --count 160 --turns 2 --ways adef --json "$out/predict_640.json"
kill $sampling 2> /dev/null
step train_640 80 "$python" -m experiments.benchmarks.training "$out/data" --size 640 --workers 8 --iterations 40 \
    --skipped 10 --turns 1 --json "$out/train_640.json"
step tests 75 "$python" -m pytest -q -p no:cacheprovider -m gpu tests/detection
step resizing 30 "${throughput[@]}" --size 640 --count 160 --turns 2 --ways dg --json "$out/resizing.json"
step predict_1024 50 "${throughput[@]}" --size 1024 --count 96 --turns 1 --ways adef --json "$out/predict_1024.json"
step parity 50 "$python" -m experiments.benchmarks.prediction.parity "$out/detector" "$out/data"
step nvjpeg 30 "${throughput[@]}" --size 640 --count 160 --turns 2 --ways dh --json "$out/nvjpeg.json"
step batches 40 "$python" -m experiments.benchmarks.prediction.batches "$out/detector" "$out/data/images" --size 640 \
    --device cuda:0
step first_losses 60 "$python" -m pytest -q -p no:cacheprovider tests/detection/openmmlab/faster/test_first_losses.py
AL_ROTATE_OPS=python step ops_in_pytorch 60 "$python" -m experiments.benchmarks.training "$out/data" --size 640 --workers 8 \
    --iterations 20 --skipped 5 --turns 1 --json "$out/ops_in_pytorch.json"
cat "$out/table.md"
