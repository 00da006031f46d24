#!/bin/sh
# The drafters that come with fairdraft for its demo model, from nothing. On two cores about an
# hour and a half; run it again and it goes on where it stopped.
#
#   recipes/demo.sh GSM8K_TRAIN.jsonl [FOLDER]
#
# GSM8K_TRAIN.jsonl is the training split of gsm8k (github.com/openai/grade-school-math, MIT).
# The answers are the demo model's own; nothing is learnt from the prompts that ship for tests.
set -eu
[ $# -ge 1 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
work=${2:-work}
train() {
    method=$1
    shift
    fairdraft train "$method" --data "$data" --data "$here/code.jsonl" --limit 1200 \
        --self-written 800 --max-tokens 192 --streams 32 --texts "$work/texts" --out "$work/$method" \
        --held-out gsm8k --held-out humaneval --held-out mt_bench \
        --draft-vocab-size 2560 --batch-tokens 2048 "$@"
    kept="$here/../fairdraft/data/heads/$(echo "$method" | tr - _)"
    mkdir -p "$kept"
    cp "$work/$method/head/config.json" "$work/$method/head/model.safetensors" \
        "$work/$method/head/card.md" "$work/$method/head/loss.png" "$kept/"
}
data=$1
train eagle3 --intermediate-size 1024 --passes 3 --epochs 3 --learning-rate 2e-3 --measure-every 300
train medusa --num-heads 3 --epochs 2 --learning-rate 2e-3 --borrow-vocabulary
train dflash --num-layers 1 --num-states 3 --intermediate-size 640 --block-size 6 --epochs 2 \
    --learning-rate 2e-3 --borrow-vocabulary
train draft-model --num-layers 1 --intermediate-size 896 --epochs 2 --learning-rate 1e-3
