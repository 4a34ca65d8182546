#!/usr/bin/env bash
# The small model's story on two cores, from rendering to measuring. Every step goes on where it stopped.
# Needs .venv as `make check` sets it up. WHISPER: Whisper-tiny.en in CTranslate2's form; ASSETS (optional): MakeHuman's asset pack
# (CC0), a folder with hair/ and clothes/.
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
step 'arms to know (7 min of processor time)' $talkies stage render --out $out/sets --set train-arms --size 96x160 --texture 128 --workers 2 $assets
step 'sets to measure on' $talkies stage render --out $out/sets --set test-head,test-body,test-dual,test-motion,test-arms --workers 2 $assets
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

# What evaluation looks through. The weights in the package were made so; these lie beside it, to compare.
judges=$out/judges; mkdir -p $judges
step 'judge of speech (not measured)' $talkies evaluate fit-speech $out/tracks --test $out/tracks-test --out $judges/speech_filter.safetensors
step 'judge of sync (3 min of processor time)' $talkies evaluate fit-sync runs/recipes/evaluation-sync.yaml --out $judges/sync_expert.safetensors
step 'judge of face units (2 min of processor time)' $talkies evaluate fit-units runs/recipes/evaluation-units.yaml --out $judges/face_units.safetensors
step 'judge of head gestures (15 s)' $talkies evaluate fit-gestures runs/recipes/evaluation-gestures.yaml --out $judges/head_gestures.safetensors
step 'judge of arm gestures (12 min of processor time)' $talkies evaluate fit-arms runs/recipes/evaluation-arms.yaml --out $judges/arm_gestures.safetensors

for set in test-head test-body test-dual test-motion; do
  step "nano on $set (about 20 min on a quiet machine)" $talkies evaluate run --model $out/nano --set $out/sets --name $set --out $out/evaluated/$set
  echo "open $out/evaluated/$set/report.html"
done
