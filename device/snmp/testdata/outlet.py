"""A module of snmpsim's that makes a PDU's outlets: a control object that is
written changes what the state and power objects of the same outlet say.

A record's value is role=control|state|power,outlet=N and then
  control: on=VALUE,off=VALUE [,refuse=yes] [,lie=yes: it says yes and does nothing]
  state:   on=VALUE,off=VALUE
  power:   watts=VALUE
"""

from pysnmp.smi import error
from snmpsim.grammar.snmprec import SnmprecGrammar
from snmpsim.record.snmprec import SnmprecRecord


def init(**context):
    moduleContext["off"] = set()


def variate(oid, tag, value, **context):
    if not context["nextFlag"] and not context["exactMatch"]:
        return context["origOid"], tag, context["errorStatus"]
    rec = dict(x.split("=") for x in value.split(","))
    off = moduleContext["off"]
    kind = SnmprecGrammar.tagMap[SnmprecRecord.unpackTag(tag)[0]]
    if rec["role"] == "control":
        if context["setFlag"]:
            if "refuse" in rec:
                raise error.NoAccessError(name=oid, idx=0)
            written = int(context["origValue"])
            if written not in (int(rec["on"]), int(rec["off"])):
                raise error.WrongValueError(name=oid, idx=0)
            if "lie" not in rec:
                (off.add if written == int(rec["off"]) else off.discard)(rec["outlet"])
            return oid, tag, context["origValue"]
        return oid, tag, kind(int(rec["on"]))
    if context["setFlag"]:
        raise error.NotWritableError(name=oid, idx=0)
    is_off = rec["outlet"] in off
    if rec["role"] == "state":
        return oid, tag, kind(int(rec["off" if is_off else "on"]))
    return oid, tag, kind(0 if is_off else int(rec["watts"]))


def shutdown(**context):
    pass
