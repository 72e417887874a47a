package config

import (
	"net/url"
	"regexp"
	"time"

	"sluice/feed"
)

// field is what a person and the checks need to know of one field.
type field struct {
	doc     string
	def     string // default, as it would be written
	need    bool
	enum    []string
	between []float64 // least and most, of numbers; powers in watts, durations in seconds
	form    string    // a key of forms
	keys    []string  // of a map: what its keys may be
	more    bool      // besides them the price of any reserve, reserve_usd_per_mw_h/NAME
}

// forms are the shapes of texts: what to say, and a test.
var forms = map[string]struct {
	say     string
	pattern string // for the schema; empty: only the test
	ok      func(string) bool
}{
	"name":        {"a name of letters, digits, dots, dashes and underscores, up to 64", namePattern, matches(namePattern)},
	"region":      {"an ISO 3166 code, such as US-TX", regionPattern, matches(regionPattern)},
	"currency":    {"an ISO 4217 code of three capitals, such as EUR", currencyPattern, matches(currencyPattern)},
	"date":        {"a date, such as 2026-01-31", datePattern, func(s string) bool { _, err := time.Parse(time.DateOnly, s); return err == nil }},
	"clock":       {"an hour and minute, such as 18:00", clockPattern, matches(clockPattern)},
	"fingerprint": {"a SHA-256 of 64 hexadecimal digits, with or without colons", fingerprintPattern, matches(fingerprintPattern)},
	"url":         {"a URL that begins with http:// or https://", `^https?://`, httpURL},
}

const (
	namePattern        = `^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`
	regionPattern      = `^[A-Z]{2}(-[A-Z0-9]{1,3})?$`
	currencyPattern    = `^[A-Z]{3}$`
	datePattern        = `^[0-9]{4}-[0-9]{2}-[0-9]{2}$`
	fingerprintPattern = `^([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$`
	clockPattern       = `^([01][0-9]|2[0-3]):[0-5][0-9]$`
)

func matches(pattern string) func(string) bool { return regexp.MustCompile(pattern).MatchString }

func httpURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

func quantities() []string {
	var out []string
	for _, q := range feed.Quantities() {
		out = append(out, string(q))
	}
	return out
}

var port = []float64{0, 65535}

// fields describes every field of every struct, by Type.key.
var fields = map[string]field{
	"Config.site":      {doc: "What holds for the whole site: one grid connection, one jurisdiction.", need: true},
	"Config.nodes":     {doc: "The power tree: the connection, its feeders and PDUs, each with its limit. Exactly one node has no parent.", need: true},
	"Config.meters":    {doc: "Meters that measure the power into a node."},
	"Config.devices":   {doc: "PDUs, management controllers, UPSes, meters and MQTT brokers, to which meters, sensors, machines and feeds refer by name."},
	"Config.sensors":   {doc: "What tells values by which nothing is controlled: UPSes, thermometers, the voltages of a meter."},
	"Config.publish":   {doc: "Where the site's state is told to other systems, over MQTT."},
	"Config.classes":   {doc: "Groups of interchangeable miners, with the modes that they can be put into."},
	"Config.machines":  {doc: "The miners, one by one or by ranges of addresses."},
	"Config.hosts":     {doc: "The compute hosts that run AI jobs."},
	"Config.dialects":  {doc: "A folder with firmwares of your own, beside those that Sluice knows: docs/writing-a-driver.md."},
	"Config.reserves":  {doc: "What the grid pays for load that it may drop at once: miners that run stand ready for it."},
	"Config.feeds":     {doc: "Where prices, the bitcoin network's figures and curtailment orders come from. The first feed with a fresh value of a quantity counts."},
	"Config.history":   {doc: "Where backtests and plans find the past: recorded prices, network figures and jobs. A running site learns what to expect of the price of power from those of its feed's step."},
	"Config.pivot":     {doc: "The owner's question: what it would bring to convert megawatts of mining to AI. What is left out has a default whose source the plan names."},
	"Config.alarms":    {doc: "Where alarms go besides the page and the log."},
	"Config.privacy":   {doc: "What is kept of the clients' jobs, and how their secrets are."},
	"Config.telemetry": {doc: "The history of readings: what is kept, and where else it goes."},
	"Config.fabric":    {doc: "How other machines join as hosts: docs/hosts.md."},
	"Config.server":    {doc: "Where the API and the dashboard are served."},

	"Site.name":                   {doc: "The site's name.", need: true, form: "name"},
	"Site.region":                 {doc: "The jurisdiction as ISO 3166-2, for residency and carbon.", form: "region"},
	"Site.mode":                   {doc: "observe plans, explains and touches nothing; control acts on the machines.", def: "observe", enum: []string{"observe", "control"}},
	"Site.control":                {doc: "The classes under control while mode is observe; with mode control it narrows control to these classes, and empty means all."},
	"Site.step":                   {doc: "The interval of planning and settlement. It divides an hour.", def: "5m", between: []float64{60, 3600}},
	"Site.horizon":                {doc: "How far a plan looks ahead; a whole number of steps.", def: "3h", between: []float64{60, 48 * 3600}},
	"Site.guard":                  {doc: "The share kept free under every limit.", def: "1%"},
	"Site.ramp":                   {doc: "The most load that is woken in a minute.", def: "2MW", between: []float64{1, maxPower}},
	"Site.overhead":               {doc: "Power at the meter for each unit of power at the machines' plugs: cooling, transformers, cables.", def: "1", between: []float64{1, 3}},
	"Site.pool_fee":               {doc: "The share of mining revenue that the pool keeps.", def: "2%"},
	"Site.currency":               {doc: "The currency of the power prices; other than USD they are converted at usd_per_currency.", def: "USD", form: "currency"},
	"Site.usd_per_currency":       {doc: "US dollars for one unit of the currency. Needed where the currency is not USD.", between: []float64{1e-9, 1e6}},
	"Site.usd_per_currency_as_of": {doc: "The date of that rate.", form: "date"},
	"Site.max_reading_age":        {doc: "A machine whose newest reading is older counts as silent.", def: "2m", between: []float64{1, 86400}},
	"Site.residual_share":         {doc: "What of a meter's reading may be nobody's (neither mining, nor AI, nor their cooling and losses) before it is an alarm.", def: "5%"},
	"Site.residual_after":         {doc: "How long it must be beyond that.", def: "5m", between: []float64{1, 86400}},

	"Node.name":   {doc: "The node's name.", need: true, form: "name"},
	"Node.parent": {doc: "The node that feeds it; the connection itself has none."},
	"Node.limit":  {doc: "The most power that may flow into it at any instant; 0 or nothing means no limit of its own.", def: "0W"},

	"Meter.node":     {doc: "The node that it measures.", need: true},
	"Meter.driver":   {doc: "The protocol.", def: "modbus", enum: []string{"modbus"}},
	"Meter.address":  {doc: "host:port of the meter or its gateway; not where device is given."},
	"Meter.unit":     {doc: "The Modbus unit id.", def: "1", between: []float64{0, 247}},
	"Meter.register": {doc: "The first input register of the total active power: float32, big endian, watts.", def: "52", between: []float64{0, 65534}},
	"Meter.map":      {doc: "The meter's register map instead of register: a name such as eastron-sdm630, or the path of a file; docs/meters.md lists and explains them."},
	"Meter.scale":    {doc: "By which the power is multiplied: the ratio of current transformers that the meter does not know of, -1 where they sit the other way round.", def: "1", between: []float64{-1e6, 1e6}},
	"Meter.device":   {doc: "A device that measures the node, instead of driver and address."},
	"Meter.outlet":   {doc: "The outlet of a PDU that feeds the node; 0 or nothing means all of the PDU.", def: "0", between: []float64{0, 10000}},
	"Meter.topic":    {doc: "The MQTT topic that tells the power."},
	"Meter.path":     {doc: "Where the value stands in a JSON message, such as power.total; nothing means that the message is the number."},
	"Meter.in":       {doc: "The unit of the message: W, kW or MW.", enum: []string{"W", "kW", "MW"}},

	"Device.name":        {doc: "The device's name.", need: true, form: "name"},
	"Device.driver":      {doc: "The protocol.", need: true, enum: []string{"modbus", "snmp", "redfish", "mqtt", "nut"}},
	"Device.address":     {doc: "host or host:port.", need: true},
	"Device.user":        {doc: "The user; with snmp it means version 3."},
	"Device.password":    {doc: "The password: env:NAME or file:PATH."},
	"Device.tls":         {doc: "verify: the certificate must be known, to the system or by ca_file or fingerprint; insecure: any will do; off: no encryption. redfish verifies unless told otherwise, mqtt and nut are plain unless told otherwise.", enum: []string{"verify", "insecure", "off"}},
	"Device.ca_file":     {doc: "A PEM file with the authority of its certificate. Relative to this file."},
	"Device.fingerprint": {doc: "The SHA-256 fingerprint of its certificate, in hex.", form: "fingerprint"},
	"Device.map":         {doc: "modbus, snmp: where its values stand: a name such as apc-rpdu2, or the path of a file; docs/meters.md lists and explains them."},
	"Device.unit":        {doc: "modbus: the unit id.", def: "1", between: []float64{0, 247}},
	"Device.scale":       {doc: "modbus: by which power, current and energy are multiplied.", def: "1", between: []float64{-1e6, 1e6}},
	"Device.community":   {doc: "snmp version 2c: the community: env:NAME or file:PATH."},
	"Device.auth":        {doc: "snmp version 3: the authentication, with password.", enum: []string{"SHA", "SHA224", "SHA256", "SHA384", "SHA512", "MD5"}},
	"Device.privacy":     {doc: "snmp version 3: the encryption, with privacy_key.", enum: []string{"AES", "AES192", "AES256", "AES192C", "AES256C", "DES"}},
	"Device.privacy_key": {doc: "snmp version 3: the key of the encryption: env:NAME or file:PATH; without one nothing is encrypted."},
	"Device.module":      {doc: "snmp: the PDU's number within a chain; -1 means the map's own.", def: "-1", between: []float64{-1, 1000}},
	"Device.session":     {doc: "redfish: yes logs in once, no sends user and password with each request.", def: "yes", enum: []string{"yes", "no"}},
	"Device.chassis":     {doc: "redfish: the chassis's ID; nothing means the first that measures its power."},
	"Device.system":      {doc: "redfish: the system's ID; nothing means the only one."},
	"Device.ups":         {doc: "nut: the name of the UPS at upsd."},

	"Sensor.name":     {doc: "The sensor's name.", need: true, form: "name"},
	"Sensor.node":     {doc: "The node where it stands."},
	"Sensor.device":   {doc: "The device that is asked.", need: true},
	"Sensor.topic":    {doc: "mqtt: the topic."},
	"Sensor.path":     {doc: "mqtt: where the value stands in a JSON message; nothing means that the message is the number."},
	"Sensor.quantity": {doc: "mqtt: what the topic measures.", enum: sensorQuantities},
	"Sensor.in":       {doc: "mqtt: the unit of the message; nothing means the quantity's own."},
	"Sensor.scale":    {doc: "mqtt: by which the value is multiplied.", def: "1", between: []float64{-1e6, 1e6}},

	"Publish.device": {doc: "A device of driver mqtt; nothing means that nothing is told."},
	"Publish.prefix": {doc: "What the topics begin with.", def: "sluice"},
	"Publish.every":  {doc: "How often the state is told.", def: "10s", between: []float64{1, 3600}},

	"Class.name":         {doc: "The class's name.", need: true, form: "name"},
	"Class.node":         {doc: "The node that feeds its machines.", need: true},
	"Class.model":        {doc: "The miners' model, for people."},
	"Class.count":        {doc: "How many miners of the class backtests and plans reckon with; 0 means those that are listed under machines.", def: "0", between: []float64{0, 1e6}},
	"Class.modes":        {doc: "The operating points of one miner. sleep is always there; give its power where it is known.", need: true},
	"Class.min_on":       {doc: "Once awake, a miner stays awake at least this long, unless a limit asks otherwise.", def: "10m", between: []float64{0, 86400}},
	"Class.min_off":      {doc: "Once asleep, a miner stays asleep at least this long.", def: "5m", between: []float64{0, 86400}},
	"Class.wake_time":    {doc: "From the command to full hashrate; the revenue of this time is lost at each wake.", def: "2m", between: []float64{0, 7200}},
	"Class.outlet_after": {doc: "After how many commands to sleep that it ignored, while a limit needs it, a machine's outlet is switched off; 0 means never.", def: "0", between: []float64{0, 100}},

	"Mode.name":         {doc: "sleep, mine (the firmware's own operating point), or a profile of the firmware.", need: true},
	"Mode.power":        {doc: "The power of one miner in this mode, at its plug.", need: true},
	"Mode.hashrate_ths": {doc: "The hashrate of one miner in this mode, in TH/s.", def: "0", between: []float64{0, 1e5}},

	"Machine.name":     {doc: "The machine's name; with a range of addresses a prefix, to which the address's end is added.", need: true, form: "name"},
	"Machine.class":    {doc: "The class that it belongs to.", need: true},
	"Machine.driver":   {doc: "The dialect that its firmware speaks, as `sluice device scan` tells it.", need: true, form: "name"},
	"Machine.address":  {doc: "host, host:port or a range such as 10.0.1.10-10.0.1.250. The port is that of the API with luxos, of the web interface with antminer.", need: true},
	"Machine.api_port": {doc: "The port of the TCP API, 0 for the firmware's own.", def: "0", between: port},
	"Machine.web_port": {doc: "The port of the web interface, 0 for the firmware's own.", def: "0", between: port},
	"Machine.outlet":   {doc: "What it is plugged into: DEVICE/NUMBER for an outlet of a PDU, of the range's first machine where the address is a range; DEVICE for a host's own switch."},
	"Machine.user":     {doc: "The user of the web interface."},
	"Machine.password": {doc: "The password: env:NAME or file:PATH."},

	"Host.name":                   {doc: "The host's name.", need: true, form: "name"},
	"Host.node":                   {doc: "The node that feeds it.", need: true},
	"Host.driver":                 {doc: "How jobs are run on it; local is the machine that runs sluice, docker is that machine for containers alone, agent another machine that has joined (docs/hosts.md), virtual is a group of GPU hosts that stands in backtests and plans only.", def: "local", enum: []string{"local", "docker", "agent", "virtual"}},
	"Host.class":                  {doc: "Hosts of one class may take each other's place, and a gang runs on several of them: give it where they are alike, with one node and one price. Nothing means a class of its own.", form: "name"},
	"Host.count":                  {doc: "virtual: how many hosts of this kind there are.", def: "1", between: []float64{1, 1e5}},
	"Host.gpu":                    {doc: "virtual, agent: the model of its GPUs."},
	"Host.slots":                  {doc: "CPU slots for jobs, or GPUs of a virtual host; 0 means the number of CPUs.", def: "0", between: []float64{0, 4096}},
	"Host.memory_gb":              {doc: "Memory for jobs in GB; 0 means what the machine has.", def: "0", between: []float64{0, 1e6}},
	"Host.disk_gb":                {doc: "Disk for jobs in GB, of which what running jobs have asked for (`disk_size`) is not free; 0 means what is free when sluice starts, or on another machine its agent.", def: "0", between: []float64{0, 1e7}},
	"Host.idle_power":             {doc: "Its power without a job.", def: "0W"},
	"Host.slot_power":             {doc: "The power that each slot in use adds.", def: "0W"},
	"Host.address":                {doc: "agent: the address at which other nodes of a gang reach it."},
	"Host.cpus":                   {doc: "agent: its CPUs for jobs; 0 means as many as slots, where those are CPUs.", def: "0", between: []float64{0, 4096}},
	"Host.meter":                  {doc: "What measures the whole host: DEVICE/NUMBER for an outlet of a PDU, DEVICE for the host's own controller (Redfish) or a meter. Without it its idle_power and slot_power count."},
	"Host.region":                 {doc: "Where it is, for tenants whose work must stay there.", form: "region"},
	"Host.labels":                 {doc: "What you attest of it, as KEY=VALUE: certifications, network, rack."},
	"Host.isolations":             {doc: "agent: what stands between its jobs and the host: process, container, sandbox; nothing means process."},
	"Host.usd_per_slot_hour":      {doc: "The rate of a slot for an hour.", def: "0", between: []float64{0, 1e4}},
	"Host.spot_usd_per_slot_hour": {doc: "The rate of a slot for an hour of work that may be interrupted.", def: "0", between: []float64{0, 1e4}},
	"Host.containers":             {doc: "How it runs work that is not trusted, with Podman or Docker: docs/isolation.md. A local host without it runs trusted tenants' work alone."},

	"Containers.socket":           {doc: "The engine's Unix socket.", def: "/run/podman/podman.sock"},
	"Containers.sandbox_socket":   {doc: "The engine for sandboxed runs where it is another: a Podman service has one runtime. Nothing means the same."},
	"Containers.sandbox_runtime":  {doc: "The runtime that is a sandbox, with a kernel of its own.", def: "runsc"},
	"Containers.image":            {doc: "The image of tasks that name none; nothing means that they are refused."},
	"Containers.pull":             {doc: "Whether an image that is not on the host is fetched.", def: "never", enum: []string{"never", "missing"}},
	"Containers.network":          {doc: "The engine's network for runs that may reach the outside. Nothing means slirp4netns with Podman; Docker needs one."},
	"Containers.isolations":       {doc: "What this host may give of what its engine can: container, sandbox; nothing means all of it."},
	"Containers.first_uid":        {doc: "The first of 65,536 users of the host that a container's users are, where the engine runs as root. Nobody else may have them.", def: "1048576", between: []float64{65536, 4e9}},
	"Containers.shared_memory_gb": {doc: "The most that a run may have in /dev/shm, and again in /tmp; both count as its memory and get half of that at most.", def: "1", between: []float64{0.001, 1e5}},
	"Containers.log_gb":           {doc: "How much of a job's output is kept.", def: "0.25", between: []float64{0.0001, 1000}},
	"Containers.gang_network":     {doc: "A network of the engines by which the nodes of a gang in containers reach each other on several hosts: docs/isolation.md."},
	"GangNetwork.name":            {doc: "The network's name at the engine; hosts that name it alike are connected by it."},
	"GangNetwork.addresses":       {doc: "The part of its IPv4 addresses that is this host's alone, as 10.30.0.16/28: not the gateway's, nor another host's."},
	"Containers.gpu_kind":         {doc: "The CDI kind of the host's GPUs.", def: "nvidia.com/gpu"},
	"Host.gpus":                   {doc: "local: auto makes each GPU that NVIDIA's driver shows a slot, metered by its own readings.", def: "none", enum: []string{"none", "auto"}},
	"Host.idle_mining":            {doc: "What GPUs do that no job has: a miner that runs where it pays more than its power."},

	"Agent.containers":          {doc: "How an agent's machine runs work that is not trusted, with Podman or Docker: docs/isolation.md."},
	"Agent.idle_mining":         {doc: "What GPUs of an agent's machine do that no job has."},
	"IdleMining.driver":         {doc: "The mining program, by its API; without one nothing mines.", enum: []string{"xmrig", "trex", "lolminer"}},
	"IdleMining.url":            {doc: "The address of its HTTP API, such as http://127.0.0.1:4067.", form: "url"},
	"IdleMining.token_file":     {doc: "A file with its API's token (xmrig) or password (trex)."},
	"IdleMining.command":        {doc: "The command that starts it, word by word. Sluice starts and ends it then, on the GPUs that are idle; without a command it runs by itself, and is paused and told to leave through its API, which lolminer's cannot."},
	"IdleMining.algorithm":      {doc: "What it mines, as values_file calls it."},
	"IdleMining.hashrate_mhs":   {doc: "The hashrate of one GPU in MH/s, until it is measured.", between: []float64{0, 1e9}},
	"IdleMining.power":          {doc: "The power of one GPU while it mines, until it is measured.", def: "0W"},
	"IdleMining.usd_per_mh_day": {doc: "What one MH/s earns in a day.", between: []float64{0, 1e6}},
	"IdleMining.as_of":          {doc: "The day of which usd_per_mh_day is.", form: "date"},
	"IdleMining.values_file":    {doc: "Instead of both, a JSON file that is read anew each time: algorithm to usd_per_mh_day and as_of."},
	"IdleMining.max_age":        {doc: "What is older does not count, and nothing mines.", def: "48h", between: []float64{60, 90 * 86400}},
	"IdleMining.fee":            {doc: "The share that pool and program keep.", def: "2%", between: []float64{0, 0.5}},
	"IdleMining.margin":         {doc: "By how much mining must pay more than its power before it begins.", def: "10%", between: []float64{0, 10}},
	"IdleMining.min_on":         {doc: "Once begun it mines for so long, unless a job or a limit comes.", def: "10m", between: []float64{0, 86400}},
	"IdleMining.min_off":        {doc: "Once ended it stays off for so long.", def: "5m", between: []float64{0, 86400}},

	"Reserve.name":         {doc: "The reserve's name, such as rrs; a feed's quantity reserve_usd_per_mw_h/NAME is its price.", need: true, form: "name"},
	"Reserve.max":          {doc: "The most that is offered, at the meter; 0 or nothing means all that can be dropped.", def: "0W"},
	"Reserve.usd_per_mw_h": {doc: "What a MW that stands ready for an hour earns, in US dollars, where no feed knows the price.", def: "0", between: []float64{0, feed.MaxReservePrice}},
	"Reserve.classes":      {doc: "The classes of miners that may stand ready; nothing means all."},

	"Feed.name":        {doc: "The feed's name.", need: true, form: "name"},
	"Feed.type":        {doc: "The kind of source.", need: true, enum: []string{"csv", "constant", "mempool", "bitcoind", "ercot", "energy-charts", "orders", "mqtt"}},
	"Feed.url":         {doc: "The source's address; mempool, ercot and energy-charts have the public one as default.", form: "url"},
	"Feed.path":        {doc: "csv: a file or a folder of files; orders: a file. Relative to this file."},
	"Feed.columns":     {doc: "csv: the column of each quantity, where its name is not the quantity's own.", keys: quantities(), more: true},
	"Feed.interval":    {doc: "csv: how long a row's value holds; nothing means that it is inferred from the rows.", def: "0s", between: []float64{0, 86400}},
	"Feed.publish_at":  {doc: "csv: the time (UTC) of the day before from which a day's day-ahead prices are known, of energy and of reserves.", def: "18:00", form: "clock"},
	"Feed.values":      {doc: "constant: the value of each quantity.", keys: quantities(), more: true},
	"Feed.zone":        {doc: "ercot: the settlement point, such as LZ_WEST; energy-charts: the bidding zone, such as DE-LU."},
	"Feed.user":        {doc: "The user, where the source asks for one."},
	"Feed.password":    {doc: "The password or key: env:NAME or file:PATH."},
	"Feed.cookie_file": {doc: "bitcoind: its .cookie file, instead of user and password."},
	"Feed.device":      {doc: "mqtt: the broker, a device."},
	"Feed.topic":       {doc: "mqtt: the topic of the orders: a limit in kW, or JSON."},
	"Feed.node":        {doc: "mqtt: the node of orders that name none; nothing means the site."},
	"Feed.hold":        {doc: "mqtt: how long an order without an end holds after its message.", def: "15m", between: []float64{1, 86400}},
	"Feed.refresh":     {doc: "The time between fetches. Default 1m; 2m for ercot, 5m for mempool, 15m for energy-charts.", between: []float64{1, 86400}},
	"Feed.max_age":     {doc: "An older value is shown as stale. Default 15m; 30m for ercot, 24h for mempool and bitcoind.", between: []float64{1, 30 * 86400}},
	"Feed.fallback":    {doc: "The value of each quantity where there is none, or none younger than four maximum ages.", keys: quantities(), more: true},

	"History.series": {doc: "The recorded series, one for each quantity."},
	"History.jobs":   {doc: "The recorded stream of AI jobs."},

	"Recorded.quantity": {doc: "What the series holds.", need: true},
	"Recorded.file":     {doc: "A file of the form ts_utc,value… (.csv or .csv.gz), found in the data folder or beside this file.", need: true},
	"Recorded.column":   {doc: "Its column; nothing means the only one."},
	"Recorded.interval": {doc: "How long a row's value holds; nothing means that it is inferred from the rows.", def: "0s", between: []float64{0, 86400}},

	"Trace.file":          {doc: "A file with the columns trace, submit_s, gpus, duration_s and qos, found in the data folder or beside this file."},
	"Trace.trace":         {doc: "The trace, where the file holds several."},
	"Trace.every":         {doc: "One job of so many is kept.", def: "1", between: []float64{1, 1e6}},
	"Trace.skip":          {doc: "How much of the trace's beginning is left out: the first days of some hold few jobs.", def: "0s", between: []float64{0, 3650 * 86400}},
	"Trace.max_gpus":      {doc: "Larger jobs are left out; 0 leaves out those that no host can hold.", def: "0", between: []float64{0, 1e4}},
	"Trace.min_hours":     {doc: "Shorter jobs are left out.", def: "0", between: []float64{0, 1e5}},
	"Trace.max_hours":     {doc: "Longer jobs are cut to this running time.", def: "168", between: []float64{0.01, 1e5}},
	"Trace.interruptible": {doc: "The share of jobs that counts as sold interruptible, where the trace does not say.", def: "50%"},
	"Trace.slack":         {doc: "A job is late when it ends later than this many times its running time after it came.", def: "3", between: []float64{1, 1e3}},
	"Trace.patience":      {doc: "A client whose job has not started by then goes elsewhere, as does one whose job is not done so long after it was due: the job is lost.", def: "24h", between: []float64{60, 365 * 86400}},

	"Pivot.hashprice_usd_per_ph_day":    {doc: "The level of the hashprice today, in USD per PH/s and day; nothing means the latest of the history.", between: []float64{0.01, 1e5}},
	"Pivot.difficulty_growth":           {doc: "The growth of the difficulty a year, halvings counted as growth.", between: []float64{-0.9, 5}},
	"Pivot.btc_growth":                  {doc: "The growth of bitcoin's price a year.", between: []float64{-0.9, 5}},
	"Pivot.hashprice_half_life_weeks":   {doc: "After how many weeks half of a deviation of the hashprice from its trend is gone; nothing means fitted to the history.", between: []float64{0.1, 520}},
	"Pivot.power_price_factor":          {doc: "The level of the real-time prices, as a multiple of the history's.", between: []float64{0, 100}},
	"Pivot.capture":                     {doc: "The share of hindsight's margin that a controller earns which does not know the future, from a backtest.", between: []float64{0, 1}},
	"Pivot.discount_rate":               {doc: "The discount rate a year, for the present value.", between: []float64{-0.5, 5}},
	"Pivot.mining_opex_usd_per_mw_year": {doc: "What a megawatt of miners costs a year besides energy: staff, repairs, rent.", between: []float64{0, 1e7}},
	"Pivot.block_weeks":                 {doc: "How many weeks in a row a scenario takes from the history at once.", between: []float64{1, 52}},
	"Pivot.contract":                    {doc: "How energy is bought."},
	"Pivot.connection":                  {doc: "How firm the grid connection is."},
	"Pivot.fleet":                       {doc: "What the miners are worth, by class."},
	"Pivot.conversions":                 {doc: "What may be built in the place of miners; each is planned by itself."},

	"Contract.adder_usd_per_mwh":          {doc: "What is paid on top of the real-time price: retailer, losses, fees.", between: []float64{-1000, 1000}},
	"Contract.block":                      {doc: "A block of power that is bought at a fixed price in every hour; what is not used is sold back at the real-time price."},
	"Contract.block_usd_per_mwh":          {doc: "The price of that block.", between: []float64{-1000, 10000}},
	"Contract.demand_usd_per_kw_month":    {doc: "The charge on a month's peak load.", between: []float64{0, 1000}},
	"Contract.coincident_usd_per_kw_year": {doc: "The charge a year on the load in the grid's own peaks, such as ERCOT's four coincident peaks.", between: []float64{0, 10000}},
	"Contract.coincident_hours":           {doc: "How many of a year's most expensive hours have to be stayed out of to be spared those peaks.", between: []float64{1, 8760}},

	"Connection.firm_share":                {doc: "The share of the connection that the grid never calls back.", between: []float64{0, 1}},
	"Connection.curtail_hours":             {doc: "In how many of a year's most expensive hours the grid calls back the rest.", between: []float64{0, 8760}},
	"Connection.curtail_above_usd_per_mwh": {doc: "Instead of curtail_hours: the grid calls the rest back whenever the real-time price is above this.", between: []float64{-1000, 100000}},

	"Fleet.class":    {doc: "A class of miners.", need: true},
	"Fleet.book_usd": {doc: "The book value of one of its machines.", between: []float64{0, 1e5}},
	"Fleet.resale":   {doc: "What a machine fetches when it has to go, as a share of its book value.", between: []float64{0, 2}},

	"Conversion.name":                      {doc: "The conversion's name.", need: true, form: "name"},
	"Conversion.kind":                      {doc: "gpu: own GPU hosts, rented out; hosting: power and cooling for a client's hosts.", def: "gpu", enum: []string{"gpu", "hosting"}},
	"Conversion.gpu":                       {doc: "gpu: the model of the GPUs."},
	"Conversion.gpus_per_host":             {doc: "gpu: how many GPUs a host has.", between: []float64{1, 1024}},
	"Conversion.host_power":                {doc: "gpu: the power of a host in use, at its plug.", between: []float64{1, maxPower}},
	"Conversion.idle_share":                {doc: "gpu: what a host draws that is not sold, as a share of that.", between: []float64{0, 1}},
	"Conversion.host_usd":                  {doc: "gpu: the capital for a host, with its share of the network.", between: []float64{0, 1e8}},
	"Conversion.pue":                       {doc: "Power at the meter for each unit of power at the hosts' plugs.", between: []float64{1, 3}},
	"Conversion.facility_usd_per_mw":       {doc: "The capital for building, power and cooling, for a megawatt at the hosts' plugs.", between: []float64{0, 1e9}},
	"Conversion.facility_life_years":       {doc: "After how many years building, power and cooling are worth nothing.", between: []float64{1, 100}},
	"Conversion.lead_months":               {doc: "The time from the order to the service.", between: []float64{0, 120}},
	"Conversion.standstill_months":         {doc: "For how many of these months the converted megawatts mine no more.", between: []float64{0, 120}},
	"Conversion.reserved_share":            {doc: "gpu: the share of the GPU-hours that is sold in advance, paid whether used or not.", between: []float64{0, 1}},
	"Conversion.reserved_usd_per_gpu_hour": {doc: "gpu: the rate of a reserved GPU-hour.", between: []float64{0, 1000}},
	"Conversion.term_months":               {doc: "How long the first contract holds that rate; later ones are made at the market's.", between: []float64{1, 600}},
	"Conversion.spot_usd_per_gpu_hour":     {doc: "gpu: the rate of a GPU-hour that may be interrupted.", between: []float64{0, 1000}},
	"Conversion.spot_utilisation":          {doc: "gpu: the share of the other GPU-hours that finds a buyer.", between: []float64{0, 1}},
	"Conversion.usd_per_kw_month":          {doc: "hosting: the rate for a kilowatt at the hosts' plugs and month.", between: []float64{0, 1e5}},
	"Conversion.energy_paid_by":            {doc: "Who pays the energy of the AI's hosts.", enum: []string{"site", "client"}},
	"Conversion.rate_decay":                {doc: "By what share the market's rate falls in a year as the hosts age.", between: []float64{-1, 0.95}},
	"Conversion.rate_volatility":           {doc: "The standard deviation of the market's rate over a year, of its logarithm.", between: []float64{0, 2}},
	"Conversion.opex_share":                {doc: "Staff and maintenance a year, as a share of the capital.", between: []float64{0, 1}},
	"Conversion.life_years":                {doc: "gpu: after how many years the hosts are replaced or given up.", between: []float64{1, 30}},
	"Conversion.residual_share":            {doc: "gpu: what a host is worth then, as a share of its capital.", between: []float64{0, 1}},
	"Conversion.renew":                     {doc: "gpu: whether hosts at their life's end are replaced by the kind of that time, at the same capital and the same rate for a megawatt.", enum: []string{"yes", "no"}},
	"Conversion.sla_credit":                {doc: "What a client gets for an hour that was sold firm and not served, besides not paying it, as a multiple of its rate.", between: []float64{0, 1000}},
	"Conversion.backup_share":              {doc: "The share of the firm AI load that has own generators or batteries, for hours in which the grid calls.", between: []float64{0, 1}},
	"Conversion.backup_usd_per_mwh":        {doc: "What energy from these costs.", between: []float64{0, 1e5}},

	"Alarms.webhook": {doc: "A URL that gets each alarm as a JSON object by POST.", form: "url"},

	"Privacy.retention":  {doc: "How long the working folder, checkpoints and logs of a job are kept after its end; then they are wiped, and the wipe recorded. 0 keeps them until somebody asks.", def: "720h", between: []float64{0, 20 * 366 * 86400}},
	"Privacy.master_key": {doc: "The file with the key under which the keys of all jobs' secrets are encrypted, made at the first use; it may lie on another disk. Or env:NAME. Nothing means a file in the data folder. Relative to this file."},

	"Telemetry.enabled":      {doc: "Whether readings are kept, for charts and Grafana.", def: "yes", enum: []string{"yes", "no"}},
	"Telemetry.retention":    {doc: "How long they are kept; 720h are thirty days.", def: "720h", between: []float64{2 * 3600, 20 * 366 * 86400}},
	"Telemetry.max_gb":       {doc: "The most disk space that they take, in GB: then the oldest go. 0 means no bound. A thousand machines take about 4 GB in 30 days.", def: "20", between: []float64{0, 1e6}},
	"Telemetry.min_free_gb":  {doc: "The disk space that is left to others, in GB: when less is free, no readings are kept.", def: "1", between: []float64{0, 1e6}},
	"Telemetry.remote_write": {doc: "A Prometheus, Mimir, Thanos or the like that gets all readings too."},

	"RemoteWrite.url":      {doc: "The receiver's address, such as https://metrics.example/api/v1/write.", form: "url"},
	"RemoteWrite.token":    {doc: "The bearer token: env:NAME or file:PATH."},
	"RemoteWrite.user":     {doc: "The user, where the receiver asks for one instead of a token."},
	"RemoteWrite.password": {doc: "The password: env:NAME or file:PATH."},
	"RemoteWrite.backlog":  {doc: "How far sending may fall behind; what is older is not sent any more.", def: "2h", between: []float64{60, 366 * 86400}},

	"Fabric.listen":      {doc: "host:port at which agents join; an address that hosts can reach.", def: "127.0.0.1:8421"},
	"Fabric.url":         {doc: "An existing NATS cluster with JetStream, instead of listening: tls://host:port, several by commas."},
	"Fabric.ca":          {doc: "A file with the authorities of the cluster's certificate; nothing means the system's. Relative to this file."},
	"Fabric.credentials": {doc: "The cluster's credentials file of Sluice's user. Relative to this file."},
	"Fabric.user":        {doc: "Sluice's user in the cluster, where it has no credentials file."},
	"Fabric.password":    {doc: "The password: env:NAME or file:PATH."},
	"Fabric.keep":        {doc: "How long a job on one host runs on when its host and the site cannot hear each other. Before that is over it starts nowhere else.", def: "2h", between: []float64{60, 7 * 86400}},

	"Server.listen":     {doc: "host:port of the API and the dashboard.", def: "127.0.0.1:8420"},
	"Server.token_file": {doc: "A file with the token that callers must show. Needed where listen is not a loopback address. Relative to this file."},
}
