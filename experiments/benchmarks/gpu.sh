#!/bin/bash
# What has to be measured on a GPU, most important first, written as it goes. The usual six minutes reach as far as the step
# `decoding` at least, and SECONDS=570 runs everything.
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

# step NAME SECONDS COMMAND...: run it for so long at most, keep what it printed, and write the table anew. The exit status
# is 124 where its time ran out, and 125 where none was left.
step() {
    local name=$1 most=$2 left=$((limit - SECONDS)) began=$SECONDS code
    shift 2
    rm -f "$out/$name.json"
    if [ "$left" -lt 10 ]; then
        echo "no time left" > "$out/$name.log"
        code=125
    else
        timeout -s INT -k 10 $((most < left ? most : left)) "$@" > "$out/$name.log" 2>&1
        code=$?
    fi
    echo "$name: $((SECONDS - began)) s, exit status $code"
    "$python" -m experiments.benchmarks.gpu_table add "$out" "$name" $((SECONDS - began)) $code
    return $code
}

# The part of the data that is here.
step data 10 "$python" -m experiments.benchmarks.gpu_table data "$data" "$out/data"
step machine 20 "$python" -m experiments.benchmarks.gpu_table machine "$out/machine.json"
step checkpoint 90 "$python" -m experiments.vhr10.checkpoint --data "$out/data" --out "$out/detector" --iterations 240
throughput=("$python" -m experiments.benchmarks.prediction.throughput "$out/detector" "$out/data/images" --device cuda:0)
nvidia-smi --query-gpu=utilization.gpu --format=csv,noheader,nounits -lms 200 > "$out/utilisation.txt" 2> /dev/null &
sampling=$!
step predict_640 55 "${throughput[@]}" --size 640 --count 160 --turns 2 --ways adDef --json "$out/predict_640.json"
kill $sampling 2> /dev/null
step train_640 65 "$python" -m experiments.benchmarks.training "$out/data" --size 640 --workers 8 --iterations 40 \
    --skipped 10 --turns 1 --json "$out/train_640.json"
step tests 75 "$python" -m pytest -v -rA -p no:cacheprovider -m gpu tests/detection
step decoding 45 "${throughput[@]}" --size 640 --count 160 --turns 2 --ways dgh --json "$out/decoding.json"
step parity 45 "$python" -m experiments.benchmarks.prediction.parity "$out/detector" "$out/data" --size 640 \
    --json "$out/parity.json"
step predict_1024 45 "${throughput[@]}" --size 1024 --count 96 --turns 1 --ways adDef --json "$out/predict_1024.json"
step batches 35 "$python" -m experiments.benchmarks.prediction.batches "$out/detector" "$out/data/images" --size 640 \
    --device cuda:0
step first_losses 45 "$python" -m pytest -v -rA -p no:cacheprovider tests/detection/openmmlab/faster/test_first_losses.py
AL_ROTATE_OPS=python step ops_in_pytorch 40 "$python" -m experiments.benchmarks.training "$out/data" --size 640 --workers 8 \
    --iterations 20 --skipped 5 --turns 1 --json "$out/ops_in_pytorch.json"
cat "$out/table.md"
