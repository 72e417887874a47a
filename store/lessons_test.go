package store

import (
	"reflect"
	"testing"
	"time"

	"sluice/site"
)

// What was learned, and that Sluice has cut a machine off, comes back; the newest
// of each lesson counts.
func TestLessonsRoundTrip(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, Options{})
	at := time.Date(2023, 8, 14, 12, 0, 0, 0, time.UTC)
	cut := site.MachineRow{Name: "m1", Prior: []byte(`"default"`), Want: "sleep", Asleep: true, Since: at, Cut: true}
	for _, turn := range []site.Turn{
		{Now: at, Machines: []site.MachineRow{{Name: "m1", Want: "mine", Since: at}}, Lessons: []site.Lesson{
			{Kind: site.LessonDevice, Key: "m1", Doc: []byte(`{"old":1}`)}, {Kind: site.LessonCurve, Key: "m1", Doc: []byte(`{}`)},
		}},
		{Now: at.Add(time.Second), Machines: []site.MachineRow{cut}, Lessons: []site.Lesson{{Kind: site.LessonDevice, Key: "m1", Doc: []byte(`{"new":1}`)}}},
	} {
		if err := db.Site().SaveTurn(t.Context(), turn); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	saved, err := open(t, dir, Options{}).Site().LoadSite(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, l := range saved.Lessons {
		got[l.Kind+" "+l.Key] = string(l.Doc)
	}
	if want := map[string]string{"device m1": `{"new":1}`, "curve m1": `{}`}; !reflect.DeepEqual(got, want) {
		t.Errorf("lessons %v, want %v", got, want)
	}
	if !reflect.DeepEqual(saved.Machines["m1"], cut) {
		t.Errorf("the machine is %+v, want %+v", saved.Machines["m1"], cut)
	}
}
