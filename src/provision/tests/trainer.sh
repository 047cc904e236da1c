#!/bin/sh
# Stands for a trainer: does steps that take no time, resumes, and ends with its standard input. How it behaves is in
# STAND_IN: a word for each way to fail. What it does is written to $STAND_IN_LOG.
exec 3<&0
(cat <&3 >/dev/null 2>&1; kill -9 0) >/dev/null 2>&1 &
while [ $# -gt 0 ]; do
    case "$1" in
    --out) out=$2; shift ;;
    --task) tasks="$tasks $2"; shift ;;
    --packs | --archetype | --epochs | --progress) shift ;;
    esac
    shift
done
exec 9>"$out/lock"
flock -n 9 || echo "two trainers at once" >>"$STAND_IN_LOG"
echo "nice $(nice) threads $RAYON_NUM_THREADS" >>"$STAND_IN_LOG"
case "$STAND_IN" in
bad) echo "lines/dialogue_style.jsonl: line 7: no role" >&2; exit 2 ;;
fail) echo "warming up" >&2; echo "out of memory" >&2; exit 1 ;;
fill) head -c 3000000 /dev/zero >"$out/full"; sleep 1000 ;;
esac
for task in $tasks; do
    dir=$out/$task
    [ -f "$dir/adapter_model.safetensors" ] && continue
    mkdir -p "$dir"
    step=$(cat "$dir/step" 2>/dev/null || echo 0)
    while [ "$step" -lt 3 ]; do
        step=$((step + 1))
        echo "$step" >"$dir/step.new" && mv "$dir/step.new" "$dir/step"
        echo "a word that is no progress"
        echo "{\"task\":\"$task\",\"step\":$step,\"steps\":3,\"loss\":2.5,\"held_out\":null,\"eta_s\":$((3 - step))}"
        [ "$STAND_IN" = hang ] && sleep 1000
    done
    loss=1.5
    [ "$STAND_IN" = worse ] && loss=3.5
    [ "$STAND_IN" = "worse $task" ] && loss=3.5
    echo "{\"task\":\"$task\",\"examples\":9,\"held_out\":4,\"base_loss\":3.0,\"loss\":$loss,\"accuracy\":null}" >"$dir/metrics.json"
    echo '{"r":8}' >"$dir/adapter_config.json"
    echo "$task" >"$dir/model" && mv "$dir/model" "$dir/adapter_model.safetensors"
    echo "trained $task" >>"$STAND_IN_LOG"
done
exit 0
