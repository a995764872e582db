package facts

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/ctaudit/ctaudit/internal/packetpath"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

// slow is far above what any snapshot of the fixtures' size may take on a loaded machine.
const slow = 10 * time.Second

// FuzzFacts edits the fixtures' text: the bytes say which lines and words change places, which keeps more of them readable
// than random bytes would. Whatever still decodes must be judged in bounded time.
func FuzzFacts(f *testing.F) {
	var seeds [][]byte
	for i, path := range fixtures(f) {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		seeds = append(seeds, b)
		f.Add(uint8(i), []byte{})
		f.Add(uint8(i), []byte{0, 100, 0, 40, 0, 1, 120, 0, 90, 2, 1, 80, 1, 30, 5})
		f.Add(uint8(i), []byte{0, 200, 1, 10, 2, 0, 210, 0, 90, 0, 0, 220, 1, 0, 1})
	}
	f.Fuzz(func(t *testing.T, which uint8, edits []byte) {
		judge(t, edit(seeds[int(which)%len(seeds)], edits))
	})
}

func judge(t *testing.T, b []byte) {
	doc, err := snapshot.Decode(bytes.NewReader(b))
	if err != nil {
		return
	}
	start := time.Now()
	n := Of(doc)
	facts := n.Facts()
	if took := time.Since(start); took > slow {
		t.Errorf("%v", took)
	}
	if len(facts.Exposure) != len(n.Answers()) {
		t.Errorf("%d exposures of %d answers", len(facts.Exposure), len(n.Answers()))
	}
	for _, e := range facts.Exposure {
		if e.Protected && e.Exposed {
			t.Errorf("protected and exposed: %+v", e)
		}
	}
	n.Ask(packetpath.B)
	if _, err := json.Marshal(facts); err != nil {
		t.Error(err)
	}
}

// edit takes five bytes a change: two lines, by 16 bits each, and what to do with them.
func edit(b, edits []byte) []byte {
	lines := bytes.Split(b, []byte("\n"))
	for ; len(edits) >= 5; edits = edits[5:] {
		i, j := (int(edits[0])<<8|int(edits[1]))%len(lines), (int(edits[2])<<8|int(edits[3]))%len(lines)
		x, y := bytes.Fields(lines[i]), bytes.Fields(lines[j])
		switch k := int(edits[4]) / 4; edits[4] % 4 {
		case 0:
			lines[i] = lines[j]
		case 1:
			lines[i] = nil
		default:
			if len(x) > 0 && len(y) > 0 {
				lines[i] = bytes.Replace(lines[i], x[k%len(x)], y[k*7%len(y)], 1)
			}
		}
	}
	return bytes.Join(lines, []byte("\n"))
}
