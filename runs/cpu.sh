#!/usr/bin/env bash
# The small model's story on two cores, from rendering to training. Every step goes on where it stopped.
# Usage: WHISPER=path/to/whisper-tiny.en/model.bin ASSETS=path/to/makehuman runs/cpu.sh
set -euo pipefail
cd "$(dirname "$0")/.."
out=runs/out; mkdir -p $out/whisper-tiny.en
talkies=.venv/bin/talkies
assets=${ASSETS:+--assets "$ASSETS"}
step() { echo "== $1 ($(date +%H:%M))"; shift; "$@"; }

[ -e $out/whisper-tiny.en/model.bin ] || ln -s "$(realpath "$WHISPER")" $out/whisper-tiny.en/model.bin
step 'people to train on' $talkies stage tracks --out $out/tracks --people 406 --tracks-per-person 4 --workers 2 $assets
step 'people to test on' $talkies stage tracks --out $out/tracks-test --people 16 --first 1000000 --tracks-per-person 4 --workers 2 $assets
step 'faces to paint' $talkies stage tracks --out $out/faces --people 406 --tracks-per-person 1 --size 256 --framing face --texture 768 --workers 2 $assets
step 'faces to test on' $talkies stage tracks --out $out/faces-test --people 16 --first 1000000 --tracks-per-person 1 --size 256 --framing face --texture 768 --workers 2 $assets
step 'captions' $talkies stage captions --out $out/captions.txt
step 'speech encoder' $talkies nano speech runs/recipes/speech.yaml
step 'codec' $talkies nano codec runs/recipes/codec.yaml
step 'codec, frozen' $talkies nano freeze runs/recipes/codec.yaml $out/codec
step 'latents' sh -c "$talkies nano latents runs/recipes/latents.yaml --share 0/2 & $talkies nano latents runs/recipes/latents.yaml --share 1/2; wait"
step 'clips' $talkies nano latents runs/recipes/latents.yaml
step 'clips to test on' $talkies nano latents runs/recipes/latents-test.yaml
step 'words' $talkies nano words runs/recipes/words.yaml
step 'transformer' $talkies train runs/recipes/transformer.yaml --out $out/transformer
step 'model' $talkies nano assemble runs/recipes/model.yaml
