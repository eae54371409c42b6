"""Big programs with many processes: a browser, a video encoder."""
import json
import struct
import unittest

from workload import Workload

PAGE = """<!doctype html><title>page</title><body style="margin:0;background:#00ff00"><p id="sum"></p>
<script>
  let sum = 0;
  for (let n = 1; n <= 1000; ++n) sum += n;
  document.getElementById('sum').textContent = `sum ${sum} ${navigator.hardwareConcurrency > 0}`;
</script></body>
"""
# --disable-dev-shm-usage is not needed: /dev/shm is half of the memory. The GPU process has nothing to drive.
FLAGS = "--headless --no-sandbox --disable-gpu --user-data-dir=/tmp/profile"


class Chromium(Workload):
    LIMITS = {"cpus": 2}

    def setUp(self):
        self.need("chromium")

    def test_a_local_page_is_run_and_its_DOM_is_printed(self):
        box = self.box(limits=self.LIMITS)
        self.write(box, page_html=PAGE)
        out = self.ok(box, f"chromium {FLAGS} --dump-dom file:///home/user/page.html 2>err || {{ tail -n 20 err; exit 1; }}", seconds=180)
        self.assertIn('<p id="sum">sum 500500 true</p>', out)

    def test_a_screenshot_has_the_size_and_the_colour_of_the_page(self):
        box = self.box(limits=self.LIMITS)
        self.write(box, page_html=PAGE)
        self.ok(box, f"chromium {FLAGS} --hide-scrollbars --window-size=320,200 --screenshot=shot.png file:///home/user/page.html 2>err"
                " || { tail -n 20 err; exit 1; }", seconds=180)
        image = box.read("shot.png")
        self.assertEqual(b"\x89PNG\r\n\x1a\n", image[:8])
        self.assertEqual((320, 200), struct.unpack(">II", image[16:24]))
        self.need("matplotlib")  # whatever reads a PNG
        pixel = "import matplotlib.image as m; print(*(m.imread('shot.png')[190, 300][:3] * 255).astype(int))"
        self.assertEqual("0 255 0\n", self.ok(box, argv=["python3", "-c", pixel]))

    def test_its_own_sandbox_cannot_be_made_and_it_says_so(self):
        box = self.box(limits=self.LIMITS)
        answer = box.exec(f"chromium {FLAGS.replace('--no-sandbox ', '')} --dump-dom about:blank", timeout_ms=120000)
        self.assertNotEqual(("exited", 0), (answer["status"], answer["exit_code"]))
        self.assertIn("no usable sandbox", answer["stderr"].lower())


class Ffmpeg(Workload):
    def setUp(self):
        self.need("ffmpeg")

    def test_a_test_source_is_encoded_and_decodes_to_the_same_length(self):
        box = self.box(limits={"cpus": 2})
        self.ok(box, "ffmpeg -v error -f lavfi -i testsrc=duration=2:size=320x240:rate=25 -f lavfi -i sine=frequency=440:duration=2"
                " -c:v mpeg4 -threads 2 -c:a aac -shortest out.mp4", seconds=120)
        probe = json.loads(self.ok(box, "ffprobe -v error -count_frames -show_entries"
                                   " stream=codec_name,codec_type,width,height,nb_read_frames -of json out.mp4"))
        video = next(stream for stream in probe["streams"] if stream["codec_type"] == "video")
        self.assertEqual(("mpeg4", 320, 240, "50"), (video["codec_name"], video["width"], video["height"], video["nb_read_frames"]))
        self.assertEqual(["aac"], [stream["codec_name"] for stream in probe["streams"] if stream["codec_type"] == "audio"])

    def test_a_pipe_of_two_scales_frames(self):
        box = self.box()
        size = self.ok(box, "ffmpeg -v error -f lavfi -i color=red:duration=1:size=64x64:rate=10 -f matroska -c:v ffv1 - |"
                       " ffmpeg -v error -i - -vf scale=32:32 -f rawvideo -pix_fmt rgb24 - | wc -c", seconds=120)
        self.assertEqual(str(10 * 32 * 32 * 3), size.strip())


if __name__ == "__main__":
    unittest.main()
