package snapshot_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/internal/snapshot"
)

func TestParseRelease(t *testing.T) {
	tests := []struct {
		in   string
		want snapshot.Release
	}{
		{"6.18.44-fc-v657", snapshot.Release{Major: 6, Minor: 18, Patch: 44, Suffix: "-fc-v657"}},
		{"5.10.0-28-amd64", snapshot.Release{Major: 5, Minor: 10, Suffix: "-28-amd64"}},
		{"6.12.43+deb13-amd64", snapshot.Release{Major: 6, Minor: 12, Patch: 43, Suffix: "+deb13-amd64"}},
		{"4.18.0-513.5.1.el8_9.x86_64", snapshot.Release{Major: 4, Minor: 18, Suffix: "-513.5.1.el8_9.x86_64"}},
		{"5.14.21-150500.55.39-default", snapshot.Release{Major: 5, Minor: 14, Patch: 21, Suffix: "-150500.55.39-default"}},
		{"4.14.336-257.562.amzn2.x86_64", snapshot.Release{Major: 4, Minor: 14, Patch: 336, Suffix: "-257.562.amzn2.x86_64"}},
		{"6.1-rc3", snapshot.Release{Major: 6, Minor: 1, Suffix: "-rc3"}},
		{"6.1", snapshot.Release{Major: 6, Minor: 1}},
		{"6.1.58+", snapshot.Release{Major: 6, Minor: 1, Patch: 58, Suffix: "+"}},
		{"2.6.32.59-flavour", snapshot.Release{Major: 2, Minor: 6, Patch: 32, Suffix: ".59-flavour"}},
		{"6.1.", snapshot.Release{Major: 6, Minor: 1, Suffix: "."}},
	}
	for _, tt := range tests {
		got, err := snapshot.ParseRelease(tt.in)
		if err != nil {
			t.Errorf("ParseRelease(%q): %v", tt.in, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("ParseRelease(%q) (-want +got):\n%s", tt.in, diff)
		}
	}
}

func TestParseReleaseRefuses(t *testing.T) {
	for _, in := range []string{"", "6", "6-rc1", "linux", "-6.1", "6.x", "99999999999999999999.1", "6.1.99999999999", "6.\x00"} {
		if got, err := snapshot.ParseRelease(in); err == nil {
			t.Errorf("ParseRelease(%q) = %v, want an error", in, got)
		}
	}
}

func TestReleaseOrder(t *testing.T) {
	ascending := []string{"4.9.337", "4.18.0-553.el8", "5.4.0", "5.15.9", "5.15.68", "5.15.131-generic", "6.0", "6.1-rc1", "6.1.1", "6.10.0"}
	for i := range ascending {
		for j := range ascending {
			a, b := mustRelease(t, ascending[i]), mustRelease(t, ascending[j])
			if got, want := a.Compare(b) < 0, i < j; got != want {
				t.Errorf("%s older than %s: %v, want %v", ascending[i], ascending[j], got, want)
			}
		}
	}
	if a, b := mustRelease(t, "6.1.0-18-amd64"), mustRelease(t, "6.1-rc7"); a.Compare(b) != 0 {
		t.Errorf("suffixes must not order releases: %d", a.Compare(b))
	}
}

func TestReleaseAtLeast(t *testing.T) {
	r := mustRelease(t, "5.15.68-lts")
	for _, tt := range []struct {
		major, minor, patch int
		want                bool
	}{{5, 15, 68, true}, {5, 15, 69, false}, {5, 15, 0, true}, {5, 14, 200, true}, {6, 0, 0, false}, {4, 19, 300, true}} {
		if got := r.AtLeast(tt.major, tt.minor, tt.patch); got != tt.want {
			t.Errorf("AtLeast(%d, %d, %d) = %v", tt.major, tt.minor, tt.patch, got)
		}
	}
}

func FuzzParseRelease(f *testing.F) {
	for _, s := range []string{"6.18.44-fc-v657", "5.10.0-28-amd64", "6.1-rc3", "2.6.32.59", "6.", "0.0.0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := snapshot.ParseRelease(s)
		if err != nil {
			return
		}
		again, err := snapshot.ParseRelease(r.String())
		if err != nil || again != r {
			t.Errorf("%q reads as %+v, which reads back as %+v (%v)", s, r, again, err)
		}
	})
}

func mustRelease(t *testing.T, s string) snapshot.Release {
	t.Helper()
	r, err := snapshot.ParseRelease(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
