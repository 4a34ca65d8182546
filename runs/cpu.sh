#!/usr/bin/env bash
# The small model's story on two cores, from rendering to training. Every step goes on where it stopped.
# Usage: WHISPER=path/to/whisper-tiny.en/model.bin ASSETS=path/to/makehuman runs/cpu.sh
set -euo pipefail
cd "$(dirname "$0")/.."
out=runs/out; mkdir -p $out/whisper-tiny.en
talkies=.venv/bin/talkies; python=.venv/bin/python
assets=${ASSETS:+--assets "$ASSETS"}
step() { echo "== $1 ($(date +%H:%M))"; shift; "$@"; }

[ -e $out/whisper-tiny.en/model.bin ] || ln -s "$(realpath "$WHISPER")" $out/whisper-tiny.en/model.bin
step 'people to train on' $talkies stage tracks --out $out/tracks --people 400 --tracks-per-person 5 --workers 2 $assets
step 'people to test on' $talkies stage tracks --out $out/tracks-test --people 12 --first 1000000 --tracks-per-person 4 --workers 2 $assets
step 'speech encoder' $python -m talkies.training.speech runs/recipes/speech.yaml
step 'codec' $python -m talkies.training.codec runs/recipes/codec.yaml
step 'codec, frozen' $python -m talkies.training.assemble codec runs/recipes/codec.yaml $out/codec
step 'latents' sh -c "$python -m talkies.training.prepare runs/recipes/latents.yaml 0/2 & $python -m talkies.training.prepare runs/recipes/latents.yaml 1/2; wait"
step 'clips' $python -m talkies.training.prepare runs/recipes/latents.yaml
step 'clips to test on' $python -m talkies.training.prepare runs/recipes/latents-test.yaml
step 'transformer' $talkies train runs/recipes/transformer.yaml --out $out/transformer
