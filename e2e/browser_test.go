package e2e_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// demoMachines are the demo's 4,000 miners, 240 GPU hosts and this machine.
const demoMachines = 4241

// TestBrowser opens the demo's dashboard in a real browser and does there what
// an operator does.
func TestBrowser(t *testing.T) {
	chromium := findChromium(t)
	if _, err := os.Stat("../ui/dist/index.html"); err != nil {
		t.Fatal("the dashboard is not built: run `make ui` first, then this test, which builds sluice with it inside")
	}
	s := up(t, "--demo", "--speed", "120", "--listen", "127.0.0.1:0", "--data", t.TempDir())
	b := openBrowser(t, chromium, s.base, 1440, 900)
	b.showsTheSite()
	b.curtails(s)
	b.fitsAPhone()
	b.isClean()
	b.wouldNotice()

	if os.Getenv("SLUICE_SCREENSHOT") == "1" {
		t.Run("screenshot", func(t *testing.T) { screenshot(t, chromium, "../docs/dashboard.png") })
	}
}

const (
	chart     = "section[aria-label='Power by use against price']"
	machines  = "section[aria-label='Machines by state']"
	order     = "section[aria-label='Curtailment']"
	previewed = "dialog[open] .result"
	primary   = "dialog[open] button.primary"
)

// coloured counts the pixels of a canvas that are no shade of grey, which axes
// and the squares of idle machines are; painted those that are not blank.
const (
	coloured = "(c => pixels(c, d => Math.max(d[0], d[1], d[2]) - Math.min(d[0], d[1], d[2]) > 60))"
	painted  = "(c => pixels(c, () => true))"
	pixels   = `globalThis.pixels = (c, counts) => {
	if (!c || !c.width) return 0
	const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data
	let n = 0
	for (let i = 0; i < d.length; i += 4) if (d[i+3] > 100 && counts(d.subarray(i, i + 3))) n++
	return n
}`
)

func (b *browser) showsTheSite() {
	t := b.t
	b.reads(".state", `^live$`)
	if got := b.text(".demo"); !strings.HasPrefix(got, "DEMO A virtual site") || !strings.Contains(got, "×120") {
		t.Errorf("the banner reads %q", got)
	}
	b.reads("header .price dd", `^−?\$[\d,.]+/MWh$`)
	if load := number(t, b.reads("header .load dd", `^([\d.]+) MW$`)[1]); load > 14.1 {
		t.Errorf("the load reads %g MW, over the connection's 14", load)
	}
	now := b.text("header time")
	b.becomes("the site's time stands still", fmt.Sprintf("document.querySelector('header time').innerText !== %q", now))
	// Half an hour of axis fills at 120 times the speed; a tenth is a real area.
	b.becomes("the chart of power is not drawn", coloured+"(document.querySelector("+strconv.Quote(chart+" canvas")+")) > 5000")
	b.becomes("the machines by state are not 4,241", fmt.Sprintf(
		"[...document.querySelectorAll(%q)].reduce((n, b) => n + Number(b.innerText.replaceAll(',', '')), 0) === %d", machines+" .key b", demoMachines))
	b.becomes("the classes of machines do not add up to 4,241", fmt.Sprintf(
		"[...document.querySelectorAll(%q)].reduce((n, h) => n + Number(h.innerText.match(/([\\d,]+) (miner|host)/)[1].replaceAll(',', '')), 0) === %d", machines+" h3 span", demoMachines))
	b.becomes("a grid has not a square for each machine", fmt.Sprintf(
		"[...document.querySelectorAll(%q)].every(g => %s(g.querySelector('canvas')) >= 9 * parseInt(g.querySelector('h3 span').innerText.replaceAll(',', '')))", machines+" .group", painted))
}

// curtails orders 4 MW for half an hour, watches it obeyed and ends it.
func (b *browser) curtails(s *server) {
	t := b.t
	b.do(chromedp.Click("//button[normalize-space()='Curtail …']"))
	b.fill("dialog[open] label:nth-of-type(1) input", "4")
	b.fill("dialog[open] label:nth-of-type(2) input", "30")
	b.reads(primary, `^Curtail to 4\.00 MW for 30\s?m`)
	b.becomes("the preview is not there", fmt.Sprintf("!document.querySelector(%q).disabled", primary))
	seen := b.reads(previewed, `(?s)Load now\s+([\d.]+) MW\s+Load after\s+([\d.]+) (k|M)W.*Machines\s+([\d,]+).*Margin forgone\s+−?\$([\d.,]+)`)
	before, after := number(t, seen[1]), number(t, seen[2])
	if seen[3] == "k" {
		after /= 1000
	}
	if before <= 4 || after > 4.005 || number(t, seen[4]) < 100 || number(t, seen[5]) == 0 {
		t.Errorf("the preview goes from %g to %g MW with %s machines for $%s", before, after, seen[4], seen[5])
	}
	if orders := curtailments(t, s); len(orders) != 0 {
		t.Errorf("the preview ordered %v", orders)
	}
	b.do(chromedp.Click(chromedp.CSS(primary)))
	b.becomes("the dialog stays open", "!document.querySelector('dialog[open]')")

	b.reads(order+" h2", `^Curtailment: 4\.00 MW`)
	b.reads(order+" dl", `(?s)Met after\s+\d.*Confirmed gone\s+[\d.]+ [kM]W [1-9][\d,]* machines.*Ends in`)
	b.do(chromedp.Click(chromedp.CSS(order + " button.danger")))
	b.reads(order+" h2", `^Curtailment cancelled: 4\.00 MW`)
	orders := curtailments(t, s)
	// An instant of a busy computer is seconds at 120 times the speed.
	if len(orders) != 1 || orders[0].State != "cancelled" || orders[0].LimitKW != 4000 || orders[0].Until.Sub(orders[0].From).Round(2*time.Minute) != 30*time.Minute {
		t.Errorf("the site has the orders %+v", orders)
	}
}

type orderSeen struct {
	State   string    `json:"state"`
	LimitKW float64   `json:"limit_kw"`
	From    time.Time `json:"from"`
	Until   time.Time `json:"until"`
}

func curtailments(t *testing.T, s *server) []orderSeen {
	t.Helper()
	list, err := all[orderSeen](s.client, "/curtailments")
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// beyond names what sticks out at the right of the window, unless it scrolls or
// is cut off inside of something.
const beyond = `(() => {
	const width = document.documentElement.clientWidth
	const inside = e => { for (let p = e.parentElement; p && p !== document.body; p = p.parentElement)
		if (getComputedStyle(p).overflowX !== 'visible' && p.getBoundingClientRect().right <= width + 1) return true }
	return [...document.querySelectorAll('body *')]
		.filter(e => e.getClientRects().length && e.getBoundingClientRect().right > width + 1 && !inside(e))
		.map(e => e.tagName + '.' + e.className + ' to ' + Math.round(e.getBoundingClientRect().right))
		.concat(document.documentElement.scrollWidth > width ? ['the page is ' + document.documentElement.scrollWidth + ' wide'] : [])
})()`

func (b *browser) fitsAPhone() {
	b.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulatePortrait))
	b.becomes("the page does not get narrow", "document.documentElement.clientWidth === 390")
	// The picture takes its new size a moment later, as a person sees it do.
	b.becomes("the chart stays wide: "+b.text(chart), fmt.Sprintf("document.querySelector(%q).getBoundingClientRect().right <= 390", chart+" canvas"))
	if out := js[[]string](b, beyond); len(out) > 0 {
		b.t.Errorf("at 390 pixels there sticks out: %s", strings.Join(out, ", "))
	}
	b.do(chromedp.Click("//button[normalize-space()='Curtail …']"))
	b.reads(previewed, `Load now`)
	if out := js[[]string](b, beyond); len(out) > 0 {
		b.t.Errorf("at 390 pixels the dialog sticks out: %s", strings.Join(out, ", "))
	}
	b.do(chromedp.Click("//dialog[@open]//button[normalize-space()='Close']"))
	b.becomes("the dialog stays open", "!document.querySelector('dialog[open]')")
	if out := js[[]string](b, "(() => { const e = document.createElement('p'); e.style.width = '500px'; document.body.append(e); const out = "+beyond+"; e.remove(); return out })()"); len(out) == 0 {
		b.t.Error("something of 500 pixels in a window of 390 goes unnoticed")
	}
}

// isClean holds that nothing went wrong on the page and nothing went elsewhere.
func (b *browser) isClean() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.complaints {
		b.t.Errorf("the page complains: %s", c)
	}
	for _, u := range b.strangers {
		b.t.Errorf("the page asks elsewhere: %s", u)
	}
	if b.requests < 8 {
		b.t.Errorf("%d requests seen: page, script, style and the API make more", b.requests)
	}
}

// wouldNotice does what isClean forbids: the policy must stop it, and note must
// have seen it.
func (b *browser) wouldNotice() {
	b.do(chromedp.Evaluate[chromedp.Void](`console.error('on purpose')
		document.head.append(Object.assign(document.createElement('script'), {text: 'window.ran = true'}))
		fetch('http://127.0.0.1:9/elsewhere').catch(() => {})
		setTimeout(() => { throw new Error('thrown on purpose') })`))
	eventually(b.t, patience, func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		said := strings.Join(b.complaints, "\n")
		for _, want := range []string{"console: \"on purpose\"", "thrown on purpose", "script-src", "connect-src"} {
			if !strings.Contains(said, want) {
				return fmt.Errorf("no complaint with %q in %s", want, said)
			}
		}
		return nil
	})
	if js[bool](b, "window.ran === true") {
		b.t.Error("the policy let a script in the page run")
	}
}

// screenshot takes the README's picture: an hour of scarcity, when it pays to let
// the grid have the power.
func screenshot(t *testing.T, chromium, file string) {
	s := up(t, "--demo", "--speed", "120", "--start", "2023-08-20T23:00:00Z", "--listen", "127.0.0.1:0", "--data", t.TempDir())
	b := openBrowser(t, chromium, s.base, 1440, 1080)
	b.reads("header .price dd", `^\$39\d`)
	// A while into the hour, so that the picture shows what came of it.
	b.reads("header time", `^00:[2-5]`)
	b.becomes("the miners go on", fmt.Sprintf("parseFloat(document.querySelector('header .load dd').innerText) < 6 && %s > 5000",
		coloured+"(document.querySelector("+strconv.Quote(chart+" canvas")+"))"))
	b.reads("header .price dd", `^\$39\d`)
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	const most = 300 << 10
	if len(png) > most {
		t.Errorf("%d bytes, want %d at most", len(png), most)
	}
	if err := os.WriteFile(file, png, 0o644); err != nil {
		t.Fatal(err)
	}
}

// number reads a figure as the page writes it.
func number(t *testing.T, s string) float64 {
	t.Helper()
	f, err := strconv.ParseFloat(strings.ReplaceAll(s, ",", ""), 64)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
