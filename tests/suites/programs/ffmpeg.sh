# ffmpeg: encoders and decoders; the hashes of what they make are those of a native run.
# packages: ffmpeg
# limit: 120
source "${0%/*}/checks.bash"
source=(-f lavfi -i "testsrc2=duration=1:size=320x180:rate=25")
ff() { ffmpeg -nostdin -hide_banner -loglevel error -y "$@" </dev/null; }
for codec in mpeg4 libx264 libx265 libvpx mjpeg ffv1 png; do
    # Bit-exact whatever the number of threads, but the container's own strings.
    opts=(-c:v $codec -threads 2 -fflags +bitexact -flags +bitexact)
    # These two depend on how threads share the work.
    case $codec in libvpx) opts+=(-threads 1 -deadline good -cpu-used 5) ;; mjpeg) opts+=(-threads 1) ;; esac
    [[ $codec != libx265 ]] || opts+=(-x265-params log-level=none:pools=2 -preset ultrafast)
    sum=$(ff "${source[@]}" "${opts[@]}" -f md5 -) && ok "$codec $sum" || fail "$codec" $?
done
for codec in aac libmp3lame flac libopus libvorbis; do
    sum=$(ff -f lavfi -i "sine=frequency=440:duration=5:sample_rate=48000" -c:a $codec -fflags +bitexact -flags +bitexact -f md5 -) && ok "$codec $sum" || fail "$codec" $?
done
ff "${source[@]}" -c:v libx264 -threads 2 video.mp4; holds "a file" test -s video.mp4
ok "decoded $(ff -i video.mp4 -f md5 -)"
ok "scaled $(ff -i video.mp4 -vf scale=160:90,hue=s=0 -f md5 -)"
same "frames" 25 "$(ffprobe -v error -count_frames -select_streams v -show_entries stream=nb_read_frames -of csv=p=0 video.mp4)"
ff -re -f lavfi -i "testsrc2=duration=60" -f null - & pid=$!; sleep 0.7; kill -INT $pid; wait $pid; same "SIGINT ends it" 255 $?
exit 0
