#!/usr/bin/env bash
# The paper's comparisons with the small model, on what runs/cpu.sh made: how voices are injected, where labels lie, and
# what is trained on how much. Every row begins with the same base, which never heard anybody. A row that exists is kept.
# Clips of 21 frames, so that a row takes minutes. Usage: runs/paper.sh (on two cores, when the base is there: twice,
# with SHARE=0/2 and SHARE=1/2)
set -euo pipefail
cd "$(dirname "$0")/.."
out=${OUT:-runs/out}; share=${SHARE:-0/1}; talkies=.venv/bin/talkies
here=(--set "data.train=[$out/cache]" --set "data.validation=[$out/cache-test]" --set machine.processes=1
  --set data.latent_frames=6 --set every.validation=60
  --set "objective.channel_weights=[[0, 8, 3.0], [40, 42, 0.2], [42, 64, 0.1]]")
mkdir -p "$out/paper"

[ -d "$out/paper/base/export" ] || $talkies train runs/recipes/transformer.yaml --out "$out/paper/base" "${here[@]}" \
  --set "model.config.unseen_channels=[]" --set condition.image_to_video=0.96 --set limits.hours=null --set limits.steps="${BASE_STEPS:-300}" \
  --set text_encoder.path="$out/words"

number=0
measure() { # file, then command
  [ -e "$1" ] || { "${@:2}" --latent-frames 6 --codec "${CODEC:-$out/codec}" > "$1.part" && mv "$1.part" "$1"; }
  cat "$1"
}
row() { # name, then overrides
  run=
  (( number++ % ${share#*/} == ${share%/*} )) || return 0
  run=$out/paper/$1
  local overrides=()
  for value in "${@:2}"; do overrides+=(--set "$value"); done
  [ -d "$run/export" ] || $talkies train runs/recipes/ablation.yaml --out "$run" "${here[@]}" \
    --set limits.steps="${STEPS:-180}" --set model.path="$out/paper/base/export/transformer" \
    --set text_encoder.path="$out/paper/base/export/text_encoder" "${overrides[@]}"
  echo "== $1"
  measure "$run/lips.txt" .venv/bin/python benchmarks/nano_lips.py "$run/export" "$out/cache-test"
}
words() { # of the row above
  [ -n "$run" ] || return 0
  measure "$run/words.txt" .venv/bin/python benchmarks/nano_prompts.py "$run/export" "$out/cache-test" \
    --tokenizer "${TOKENIZER:-$out/tokenizer}" --count 12
}

row l-rope; words   # and: the audio layers alone, on everything
row concat model.config.audio_injection=concat
row all train=all text_encoder.train=true; words
row l-rope-small data.clips=200; words
row all-small train=all text_encoder.train=true data.clips=200; words
row split model.config.audio_injection=split
row add model.config.audio_injection=add
row labels-0-2-4 model.config.person_label_range=2 model.config.person_label_stride=2
