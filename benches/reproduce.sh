#!/usr/bin/env bash
# Clones to train on and clones never trained on in, every experiment of both papers out: one JSON and its charts each.
#
# usage: reproduce.sh CODEWM small|full CLONES UNSEEN OUT [DEVICE]
#
# CLONES and UNSEEN are folders of clones; nothing of UNSEEN may be in CLONES. What is finished is not done again, so
# that the same command goes on where it was stopped. `small` is meant for 3 hours on two cores, `full` for a GPU.
set -euo pipefail

if [ $# -lt 5 ]; then
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
codewm=$1 scale=$2 clones=$3 unseen=$4 out=$5 device=${6:-cpu}

case $scale in
small)
    steps=300 sweep=100 seeds="0 1 2" limit=800
    shape=(--set batch=16 --set window=64 --set max_tokens=64 --set warmup=50)
    ;;
full)
    # Steps and batch of the papers: 15,000 (CodeWM-1 table 14), 28,000 (CodeWM-2 table 6).
    steps=28000 sweep=15000 seeds="42 43 44" limit=5000
    shape=(--set batch=128)
    ;;
*)
    echo "the scale is small or full, not '$scale'" >&2
    exit 2
    ;;
esac
mkdir -p "$out"

# The same command is never run twice once it has left its file.
once() {
    local made=$1
    shift
    if [ -e "$made" ]; then
        echo "done before: $made" >&2
    else
        echo "+ $*" >&2
        "$@"
    fi
}

suite() { # suite NAME FILE ARGUMENTS...
    local name=$1 file=$2
    shift 2
    if [ -e "$out/$file.done" ]; then
        echo "done before: $file" >&2
        return
    fi
    echo "+ eval $name ($file)" >&2
    "$codewm" eval "$name" "$@" --json "$out/$file.json" --plots "$out/$file" --limit "$limit"
    touch "$out/$file.done"
}

once "$out/corpus.h5" "$codewm" harvest "$clones"/* --out "$out/corpus.h5"

# Both recipes, as published and as written, over seeds.
for recipe in encoder-collapse readout-repair; do
    for mode in published text; do
        for seed in $seeds; do
            run="$out/runs/$recipe-$mode-s$seed"
            once "$run/weights.safetensors" "$codewm" train --corpus "$out/corpus.h5" --output "$run" \
                --recipe "$recipe" --mode "$mode" --seed "$seed" --steps "$steps" --device "$device" "${shape[@]}"
        done
    done
done

# CodeWM-1 tables 1 and 2, figure 3; what causes the collapse.
suite collapse collapse "$out/corpus.h5" --steps "$sweep" --seeds 3 --device "$device" "${shape[@]}"

for recipe in encoder-collapse readout-repair; do
    for mode in published text; do
        models=()
        for seed in $seeds; do models+=(--model "$out/runs/$recipe-$mode-s$seed"); done
        # CodeWM-1 tables 3, 4, 8 and 9 in distribution; table 5 on clones never trained on.
        suite rollout "rollout-$recipe-$mode" "$out/corpus.h5" "${models[@]}"
        suite rollout "rollout-unseen-$recipe-$mode" "$unseen"/* "${models[@]}"
        # CodeWM-2 tables 1 to 6, 9, 10 and figure 1.
        suite geometry "geometry-$recipe-$mode" "$unseen"/* "${models[@]}"
        suite audit "audit-$recipe-$mode" "$unseen"/* "${models[@]}"
        # CodeWM-1 tables 6, 7 and 19; CodeWM-2 tables 7 and 8.
        suite retrieval "retrieval-$recipe-$mode" "$unseen"/* "${models[@]}"
    done
done

# The same questions to the shipped model, and those that only the engine answers: CodeWM-1 tables 10, 11, 15 and 16.
for name in rollout geometry audit retrieval probe quantisation latency; do
    suite "$name" "$name-base" "$unseen"/* --model base
done
