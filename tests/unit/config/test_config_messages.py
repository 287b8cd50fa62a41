"""What a person is told about each mistake: file, line, key, what would be valid, and the nearest known name.

Every case is a text and the whole message, without the file's name that stands before each line of it.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from syncline.config import Loaded

BASE = (
    "version: 1\n"
    "connections:\n"
    '  newsletter: {plugin: mailchimp, api_key: "${MC_KEY}", audience: 3f2a}\n'
    '  crm: {plugin: salesforce, login: {client_id: "${SF_ID}", client_secret: "${SF_SECRET}"}}\n'
    "scores: {interesse: {model: comportamentale}}\n"
    "segments: {lead_caldo: {all: [email_open]}}\n"
)
ACTION = "actions:\n  - when: {enters: lead_caldo}\n"
SYNC = "syncs:\n  - name: leads\n    to: crm\n    object: Lead\n    match: Key__c\n"
FIELDS = SYNC + "    fields:\n      "

SECOND = (
    "    segments: {lead_caldo: Hot}\n"
    "  - name: more\n"
    "    to: crm\n"
    "    object: Lead\n"
    "    match: Key__c\n"
    "    fields: {B: {from: person.role, owner: ours}}\n"
)
"""The rest of one sync, lines 12, and another to the same connection, lines 13 to 17."""


def _alike(sync: str, other: str, line: int) -> str:
    return (
        f"sync {sync!r} must say the same as stands in sync {other!r}, line {line}: both write the same records of "
        "'crm', in one go"
    )


WHOLE_FILE = {
    "empty file": (
        "",
        "1: the file is empty; it must be a mapping (key: value) at the top",
    ),
    "only a comment": (
        "# nothing yet\n",
        "1: the file is empty; it must be a mapping (key: value) at the top",
    ),
    "not a mapping": (
        "- version\n- 1\n",
        "1: the file must be a mapping (key: value) at the top",
    ),
    "a tab": (
        "version: 1\n\tconnections: {}\n",
        "2: a tab; YAML is indented with spaces",
    ),
    "bracket left open": (
        "version: 1\nconnections: {crm: {plugin: sheet, path: x}\nscores: {}\n",
        "3: a '}' or a ',' is missing (opened in line 2)",
    ),
    "quote left open": (
        'version: 1\nstore: "sqlite:///x\nconnections: {}\n',
        "4: a quote is opened and never closed (opened in line 2)",
    ),
    "braces without quotes": (
        "version: 1\nconnections: {crm: {plugin: sheet, path: ${HOME}}}\n",
        "2: a '{' inside {…} or […]; put the value in quotes: \"${NAME}\"",
    ),
    "wrong indentation": (
        "version: 1\nconnections:\n  crm: {}\n scores: {}\n",
        "4: the indentation does not match the lines above",
    ),
    "colon in a value": (
        "version: 1\nstore: sqlite: x\n",
        "2: a ':' where none can be; check the indentation, or put the value in quotes",
    ),
    "unknown anchor": (
        "version: 1\nconnections: {crm: {plugin: *sheet}}\n",
        "2: a value starting with '*' refers to an anchor that is not there; put it in quotes",
    ),
    "yaml tag": (
        "version: 1\nconnections: {crm: {plugin: sheet, path: !env X}}\n",
        "2: connections.crm.path: a YAML tag ('!…') is not understood here; put the value in quotes",
    ),
    "list as a key": (
        "version: 1\nconnections: {}\n[a]: b\n",
        "3: a key must be text; put values that start with '{' or '[' in quotes",
    ),
    "two documents": (
        "version: 1\nconnections: {}\n---\nversion: 1\n",
        "3: a second document; the file holds exactly one, without '---' between",
    ),
    "key written twice": (
        "version: 1\nconnections: {}\nversion: 1\n",
        "3: version: written twice, first in line 1; keep one",
    ),
    "control character": (
        "version: 1\nstore: \x07\n",
        "2: a control character; remove it",
    ),
    "wrong version": (
        "version: 2\nconnections: {}\n",
        "1: version: this syncline reads version 1; write version: 1",
    ),
    "no version": (
        "connections: {}\n",
        "1: version: missing: the version of this format, 1",
    ),
    "no connections": (
        "version: 1\n",
        "1: connections: missing: name → {plugin: KIND, and the plugin's own settings}",
    ),
    "misspelt section is one mistake": (
        "version: 1\nconections: {}\n",
        "2: conections: unknown key; did you mean 'connections'? Known: connections, actions, "
        "alerts, classify, consent, identity, models, raw_retention, scores, segments, server, simulation, store, "
        "syncs, version",
    ),
    "empty section": (
        "version: 1\nconnections: {}\nsyncs:\n",
        "3: syncs: must be a list ([a, b]), but is empty; fill it, or remove the key",
    ),
    "list for a mapping": (
        "version: 1\nconnections: [crm]\n",
        "2: connections: must be a mapping (key: value), not a list",
    ),
    "duration without unit": (
        BASE + "raw_retention: 30\n",
        "7: raw_retention: must be a duration such as 15m, 24h or 30d",
    ),
    "duration in words": (
        BASE + "raw_retention: thirty days\n",
        "7: raw_retention: 'thirty days' is not a duration; write a number and a unit (s m h d w), such "
        "as 90d or 1h30m",
    ),
    "no duration at all": (
        BASE + "raw_retention: 0d\n",
        "7: raw_retention: must be longer than nothing, such as 15m, 24h or 30d",
    ),
    "unknown database": (
        BASE + "store: mysql://localhost/x\n",
        "7: store: must be the address of a database: sqlite:///FOLDER/FILE.db or "
        "postgresql+psycopg://USER@HOST/DATABASE",
    ),
    "password in the store": (
        BASE + "store: postgresql+psycopg://user:hunter2@localhost/x\n",
        '7: store: a password must not stand in this file; write "${NAME}" in its place',
    ),
}

CONNECTIONS = {
    "unknown plugin": (
        "version: 1\nconnections:\n  crm: {plugin: salesfroce}\n",
        "3: connections.crm.plugin: no plugin is called 'salesfroce'; did you mean 'salesforce'? Known: "
        "salesforce, mailchimp, sheet; or install the package that provides it",
    ),
    "no plugin": (
        "version: 1\nconnections:\n  crm: {path: x}\n",
        "3: connections.crm.plugin: missing: the kind of connector; `syncline plugins` lists them",
    ),
    "bad connection name": (
        "version: 1\nconnections:\n  1st: {plugin: sheet, path: x}\n",
        "3: connections.1st: not a name; use letters, digits, _ and -, and start with a letter",
    ),
    "connection is text": (
        "version: 1\nconnections:\n  crm: salesforce\n",
        "3: connections.crm: must be a mapping (key: value), not text",
    ),
    "misspelt setting": (
        "version: 1\nconnections:\n  crm: {plugin: salesforce, logn: {client_id: x, client_secret: y}}\n",
        "3: connections.crm.logn: unknown key; did you mean 'login'? Known: login, plugin, base_url, "
        "budget, simulated, timeout",
    ),
    "misspelt setting inside a login": (
        "version: 1\n"
        "connections:\n"
        "  crm:\n"
        "    plugin: salesforce\n"
        "    login:\n"
        "      client_id: x\n"
        "      client_secert: y\n",
        "7: connections.crm.login.client_secert: unknown key; did you mean 'client_secret'? Known: "
        "client_secret, client_id",
    ),
    "missing setting": (
        "version: 1\nconnections:\n  news:\n    plugin: mailchimp\n    api_key: ${MC_KEY}\n",
        "3: connections.news.audience: missing, but required",
    ),
    "the login that is meant is explained": (
        "version: 1\nconnections:\n  crm:\n    plugin: salesforce\n    login: {username: x}\n",
        "5: connections.crm.login.password: missing, but required",
    ),
    "id read as a number": (
        'version: 1\nconnections:\n  news: {plugin: mailchimp, api_key: "${MC_KEY}", audience: 12e4}\n',
        "3: connections.news.audience: must be text, not a number; put it in quotes",
    ),
    "number out of bounds": (
        'version: 1\nconnections:\n  news: {plugin: mailchimp, api_key: "${MC_KEY}", audience: x, page_size: 0}\n',
        "3: connections.news.page_size: must be at least 1",
    ),
    "not one of the values": (
        'version: 1\nconnections:\n  news: {plugin: mailchimp, api_key: "${MC_KEY}", audience: x, regions: ue}\n',
        "3: connections.news.regions: not valid; Known: eu, us",
    ),
    "literal secret": (
        "version: 1\nconnections:\n  news:\n    plugin: mailchimp\n    audience: x\n    api_key: 0123456789-us1\n",
        '6: connections.news.api_key: a secret must not stand in this file; write "${NAME}" and set that '
        "environment variable",
    ),
    "variable not set": (
        'version: 1\nconnections:\n  news: {plugin: mailchimp, api_key: "${MC_KEYS}", audience: x}\n',
        "3: connections.news.api_key: environment variable MC_KEYS is not set; did you mean MC_KEY?",
    ),
    "variable empty": (
        'version: 1\nconnections:\n  news: {plugin: mailchimp, api_key: "${EMPTY}", audience: x}\n',
        "3: connections.news.api_key: environment variable EMPTY is empty; give it a value",
    ),
    "no variable name": (
        'version: 1\nconnections:\n  files: {plugin: sheet, path: "${my path}/x"}\n',
        '3: connections.files.path: write "${NAME}" with the name of an environment variable; $${ stands '
        "for a literal ${",
    ),
    "a plugin's own check": (
        "version: 1\n"
        "connections:\n"
        "  crm:\n"
        "    plugin: salesforce\n"
        "    base_url: ftp://x\n"
        '    login: {client_id: x, client_secret: "${SF_SECRET}"}\n',
        "3: connections.crm: base_url must be an http address, not ftp://x",
    ),
    "number from the environment": (
        "version: 1\n"
        "connections:\n"
        "  crm:\n"
        "    plugin: salesforce\n"
        "    timeout: ${SF_ID}\n"
        '    login: {client_id: x, client_secret: "${SF_SECRET}"}\n',
        "5: connections.crm.timeout: must be a whole number, not text",
    ),
    "simulated, misspelt setting": (
        "version: 1\nconnections:\n  news: {plugin: mailchimp, simulated: true, audiense: x}\n",
        "3: connections.news.audiense: unknown key; did you mean 'audience'? Known: audience, api_key, "
        "budget, page_size, plugin, regions, simulated, tokens",
    ),
    "simulated is no text": (
        "version: 1\nconnections:\n  files: {plugin: sheet, simulated: 'yes', path: x}\n",
        "3: connections.files.simulated: must be true or false, not text",
    ),
}

RULES = {
    "unknown table": (
        BASE + "classify: {page_types: {pricing: ['*/pricing*']}}\n",
        "7: classify.page_types: unknown key; did you mean 'page_type'? Known: page_type, "
        "clicks_count_as, connections, content_type, form_type, video",
    ),
    "pattern without a list": (
        BASE + "classify: {page_type: {pricing: '*/pricing*'}}\n",
        "7: classify.page_type.pricing: must be a list ([a, b]), not text",
    ),
    "unknown fact": (
        BASE + "classify: {clicks_count_as: [page_view]}\n",
        "7: classify.clicks_count_as[0]: not valid; did you mean 'page_visit'? Known: page_visit, "
        "video_view, content_download",
    ),
    "classify unknown connection": (
        BASE + "classify:\n  connections:\n    newsleter: {video: ['*/video/*']}\n",
        "9: classify.connections.newsleter: no connection is called 'newsleter'; did you mean "
        "'newsletter'? Known: newsletter, crm",
    ),
    "true for a number": (
        BASE + "identity: {max_emails: true}\n",
        "7: identity.max_emails: must be a number, not true/false",
    ),
    "too few": (
        BASE + "identity: {max_emails: 0}\n",
        "7: identity.max_emails: must be at least 1",
    ),
    "score without model": (
        "version: 1\nconnections: {}\nscores: {interesse: {modell: x}}\n",
        "3: scores.interesse.modell: unknown key; did you mean 'model'? Known: model",
    ),
    "model is a number": (
        "version: 1\nconnections: {}\nscores: {interesse: {model: 3}}\n",
        "3: scores.interesse.model: must be a model's name, a path to its YAML file, or the model itself (a mapping)",
    ),
}

ACTIONS = {
    "kind that does not exist yet": (
        BASE + ACTION + "    alert: {to: crm}\n",
        "9: actions[0].alert: this kind of action does not exist yet; there is: task",
    ),
    "unknown segment": (
        BASE + "actions:\n  - when: {enters: lead_cald}\n    task: {to: crm, subject: Call}\n",
        "8: actions[0].when.enters: no segment is called 'lead_cald'; did you mean 'lead_caldo'? Known: lead_caldo",
    ),
    "score without band": (
        BASE + "actions:\n  - when: {enters: interesse}\n    task: {to: crm, subject: Call}\n",
        "8: actions[0].when.enters: 'interesse' is a score; name one of its bands: interesse.BAND",
    ),
    "enters and leaves": (
        BASE + "actions:\n  - when: {enters: lead_caldo, leaves: lead_caldo}\n    task: {to: crm, subject: Call}\n",
        "8: actions[0].when: give either 'enters' or 'leaves': a segment, or SCORE.BAND",
    ),
    "task for a source": (
        BASE + ACTION + "    task: {to: newsletter, subject: Call}\n",
        "9: actions[0].task.to: 'newsletter' (plugin mailchimp) cannot hold tasks; those that can: crm",
    ),
    "task for a source in a list": (
        BASE + ACTION + "    task: {to: [crm, newsletter], subject: Call}\n",
        "9: actions[0].task.to[1]: 'newsletter' (plugin mailchimp) cannot hold tasks; those that can: crm",
    ),
    "task twice for one CRM": (
        BASE + ACTION + "    task: {to: [crm, crm], subject: Call}\n",
        "9: actions[0].task.to[1]: 'crm' is named twice; each CRM gets the task once",
    ),
    "task for nobody": (
        BASE + ACTION + "    task: {to: [], subject: Call}\n",
        "9: actions[0].task.to: names no connection; give one, or a list of them: [crm, second_crm]",
    ),
    "task without words": (
        BASE + ACTION + "    task: {to: crm, due: 2h}\n",
        "9: actions[0].task: has no words; give 'subject', or 'text' with one of: alert_it, alert_en, hand_off_it, "
        "hand_off_en, senior_outreach_it, senior_outreach_en",
    ),
    "unknown text": (
        BASE + ACTION + "    task: {to: crm, text: alert_de}\n",
        "9: actions[0].task.text: not valid; did you mean 'alert_en'? Known: alert_en, alert_it, hand_off_en, "
        "hand_off_it, senior_outreach_en, senior_outreach_it",
    ),
    "unknown priority": (
        BASE + ACTION + "    task: {to: crm, subject: Call, priority: hihg}\n",
        "9: actions[0].task.priority: not valid; did you mean 'high'? Known: high, from_score, low, normal, urgent",
    ),
    "priority from which score": (
        "version: 1\n"
        "connections: {files: {plugin: sheet, path: x, simulated: false}, crm: {plugin: salesforce, simulated: true}}\n"
        "scores: {a: {model: x}, b: {model: x}}\n"
        "segments: {s: {all: [email_open]}}\n"
        "actions:\n"
        "  - when: {enters: s}\n"
        "    task: {to: crm, subject: Call, priority: from_score}\n",
        "7: actions[0].task.priority: from_score needs 'score'; one of: a, b",
    ),
    "unknown score": (
        BASE + ACTION + "    task: {to: crm, subject: Call, score: interese}\n",
        "9: actions[0].task.score: no score is called 'interese'; did you mean 'interesse'? Known: interesse",
    ),
    "braces taken for a mapping": (
        BASE + ACTION + "    task: {to: crm, subject: {name}}\n",
        "9: actions[0].task.subject: must be text, not a mapping; put it in quotes",
    ),
    "two actions of one name": (
        BASE + ACTION + "    task: {to: crm, subject: Call}\n"
        "  - when: {enters: lead_caldo}\n"
        "    task: {to: crm, subject: Mail}\n",
        "10: actions[1].name: two actions are called 'enters_lead_caldo_crm', the first in line 8; rename one",
    ),
}

FIELD_MAPPINGS = {
    "no owner": (
        BASE + FIELDS + "A: {from: score.interesse}\n",
        "13: syncs[0].fields.A.owner: missing: ours (we write), theirs (we only read) or shared (with a policy)",
    ),
    "unknown owner": (
        BASE + FIELDS + "A: {from: score.interesse, owner: our}\n",
        "13: syncs[0].fields.A.owner: not valid; did you mean 'ours'? Known: ours, shared, theirs",
    ),
    "from nowhere": (
        BASE + FIELDS + "A: {from: interesse, owner: ours}\n",
        "13: syncs[0].fields.A.from: must say where the value comes from: score.NAME, score.NAME.band, "
        "score.NAME.reason, segment.NAME or person.ATTRIBUTE",
    ),
    "unknown part of a score": (
        BASE + FIELDS + "A: {from: score.interesse.bands, owner: ours}\n",
        "13: syncs[0].fields.A.from: unknown part; did you mean 'band'? Known: band, reason",
    ),
    "unknown score in a field": (
        BASE + FIELDS + "A: {from: score.interese, owner: ours}\n",
        "13: syncs[0].fields.A.from: no score is called 'interese'; did you mean 'interesse'? Known: interesse",
    ),
    "unknown segment in a field": (
        BASE + FIELDS + "A: {from: segment.lead_cald, owner: ours}\n",
        "13: syncs[0].fields.A.from: no segment is called 'lead_cald'; did you mean 'lead_caldo'? Known: lead_caldo",
    ),
    "ours without from": (
        BASE + FIELDS + "A: {owner: ours}\n",
        "13: syncs[0].fields.A: owner: ours needs 'from': score.NAME, score.NAME.band, "
        "score.NAME.reason, segment.NAME or person.ATTRIBUTE",
    ),
    "ours with a policy": (
        BASE + FIELDS + "A: {from: score.interesse, owner: ours, policy: newest}\n",
        "13: syncs[0].fields.A.policy: only goes with owner: shared; what is ours, we always write",
    ),
    "theirs without to": (
        BASE + FIELDS + "A: {owner: theirs}\n",
        "13: syncs[0].fields.A: owner: theirs needs 'to': person.ATTRIBUTE",
    ),
    "theirs with from": (
        BASE + FIELDS + "A: {owner: theirs, to: person.stage, from: person.stage}\n",
        "13: syncs[0].fields.A.from: does not go with owner: theirs, which we only read; it has 'to' only",
    ),
    "theirs into what is ours": (
        BASE + FIELDS + "A: {owner: theirs, to: person.email}\n",
        "13: syncs[0].fields.A.to: cannot be read from a CRM: email, key, last_event, last_event_at are "
        "ours; choose another attribute",
    ),
    "theirs without person": (
        BASE + FIELDS + "A: {owner: theirs, to: stage}\n",
        "13: syncs[0].fields.A.to: must be person.ATTRIBUTE, the attribute that takes the CRM's value",
    ),
    "shared without policy": (
        BASE + FIELDS + "A: {from: person.title, owner: shared}\n",
        "13: syncs[0].fields.A: owner: shared needs 'policy': newest, only_if_empty, human_wins or ask",
    ),
    "unknown policy": (
        BASE + FIELDS + "A: {from: person.title, owner: shared, policy: humans_win}\n",
        "13: syncs[0].fields.A.policy: not valid; did you mean 'human_wins'? Known: human_wins, ask, "
        "newest, only_if_empty",
    ),
    "write_when on text": (
        BASE + FIELDS + "A: {from: person.title, owner: ours, write_when: {moves: 5}}\n",
        "13: syncs[0].fields.A.write_when: only goes with the number of a score, from: score.NAME",
    ),
    "write_when on nothing": (
        BASE + FIELDS + "A: {from: score.interesse, owner: ours, write_when: {}}\n",
        "13: syncs[0].fields.A.write_when: says nothing; write {moves: 5}, {or: band} or both",
    ),
    "default is a list": (
        BASE + FIELDS + "A: {from: person.title, owner: ours, default: [a]}\n",
        "13: syncs[0].fields.A.default: must be text, a number, or true/false",
    ),
    "same field in other letters": (
        BASE + FIELDS + "Title: {from: person.title, owner: ours}\n      title: {from: person.role, owner: ours}\n",
        "14: syncs[0].fields.title: this field is already mapped in sync 'leads', line 13; keep one owner",
    ),
    "same field twice": (
        BASE + FIELDS + "Title: {from: person.title, owner: ours}\n      Title: {from: person.role, owner: ours}\n",
        "14: syncs[0].fields.Title: written twice, first in line 13; keep one",
    ),
}

CONSENT = {
    "a purpose nobody declared": (
        BASE + FIELDS + "A: {from: person.title, owner: ours, purpose: mial}\n"
        "consent: {purposes: {mail: {basis: consent}}}\n",
        "13: syncs[0].fields.A.purpose: no purpose is called 'mial'; did you mean 'mail'? Known: mail; declare it: "
        "consent: {purposes: {…}}",
    ),
    "purposes in every place": (
        BASE + ACTION + "    task: {to: crm, subject: Mail, purpose: a}\n" + SYNC + "    purpose: b\n"
        "    fields: {A: {consent: c}}\n"
        "    segments: {lead_caldo: {name: Hot, purpose: d}}\n"
        "consent: {unsubscribes: [e]}\n",
        "9: actions[0].task.purpose: no purpose is called 'a'; there is none; declare it: consent: {purposes: {…}}\n"
        "15: syncs[0].purpose: no purpose is called 'b'; there is none; declare it: consent: {purposes: {…}}\n"
        "16: syncs[0].fields.A.consent: no purpose is called 'c'; there is none; declare it: consent: {purposes: {…}}\n"
        "17: syncs[0].segments.lead_caldo.purpose: no purpose is called 'd'; there is none; declare it: consent: "
        "{purposes: {…}}\n"
        "18: consent.unsubscribes[0]: no purpose is called 'e'; there is none; declare it: consent: {purposes: {…}}",
    ),
    "an opt-out with an owner": (
        BASE + FIELDS + "A: {consent: mail, owner: ours}\nconsent: {purposes: {mail: {basis: consent}}}\n",
        "13: syncs[0].fields.A.owner: does not go with 'consent': an opt-out is read, and only ever ticked by us",
    ),
    "a purpose of what we only read": (
        BASE + FIELDS + "A: {to: person.stage, owner: theirs, purpose: mail}\n"
        "consent: {purposes: {mail: {basis: consent}}}\n",
        "13: syncs[0].fields.A.purpose: does not go with owner: theirs, which we only read; it has 'to' only",
    ),
    "an unknown basis": (
        BASE + "consent: {purposes: {mail: {basis: contract}}}\n",
        "7: consent.purposes.mail.basis: not valid; Known: consent, legitimate_interest",
    ),
    "one list for two segments, one of them with a purpose": (
        BASE.replace("[email_open]}}", "[email_open]}, cold: {all: [email_open]}}")
        + SYNC
        + "    segments: {lead_caldo: {name: Hot}, cold: hot}\n",
        "12: syncs[0].segments.cold: segments 'cold' and 'lead_caldo' (in sync 'leads', line 12) both keep 'hot', and "
        "each would remove whom the other adds; give each a list of its own, or make one segment of the two",
    ),
}

SYNCS = {
    "unknown connection": (
        BASE + "syncs:\n"
        "  - name: leads\n"
        "    to: cmr\n"
        "    object: Lead\n"
        "    match: Key__c\n"
        "    fields: {A: {from: person.title, owner: ours}}\n",
        "9: syncs[0].to: no connection is called 'cmr'; did you mean 'crm'? Known: crm, newsletter",
    ),
    "to a source": (
        BASE + "syncs:\n"
        "  - name: leads\n"
        "    to: newsletter\n"
        "    object: Lead\n"
        "    match: Key__c\n"
        "    fields: {A: {from: person.title, owner: ours}}\n",
        "9: syncs[0].to: 'newsletter' (plugin mailchimp) is a source, nothing can be written there; "
        "those that can: crm",
    ),
    "no match": (
        BASE + "syncs:\n"
        "  - name: leads\n"
        "    to: crm\n"
        "    object: Lead\n"
        "    fields: {A: {from: person.title, owner: ours}}\n",
        "8: syncs[0].match: missing: the CRM field that holds our key, such as Syncline_Key__c",
    ),
    "nothing to write": (
        BASE + SYNC + "    every: 15m\n",
        "8: syncs[0]: writes nothing; give 'fields', 'segments' or both",
    ),
    "unknown when_missing": (
        BASE + SYNC + "    when_missing: creat\n    fields: {A: {from: person.title, owner: ours}}\n",
        "12: syncs[0].when_missing: not valid; did you mean 'create'? Known: create, skip",
    ),
    "create_if without create": (
        BASE + SYNC + "    create_if: {score: interesse, at_least: 20}\n"
        "    fields: {A: {from: person.title, owner: ours}}\n",
        "12: syncs[0].create_if: has no effect; add when_missing: create",
    ),
    "also is no list": (
        BASE + SYNC + "    also: Contact\n    fields: {A: {from: person.title, owner: ours}}\n",
        "12: syncs[0].also: must be a list ([a, b]), not text",
    ),
    "object twice": (
        BASE + SYNC + "    also: [lead]\n    fields: {A: {from: person.title, owner: ours}}\n",
        "12: syncs[0].also: names an object twice; 'object' itself need not be there",
    ),
    "guard misspelt": (
        BASE + SYNC + "    guard: {create: 10}\n    fields: {A: {from: person.title, owner: ours}}\n",
        "12: syncs[0].guard.create: unknown key; did you mean 'creates'? Known: creates, clears, "
        "opt_outs, overwrites, removes, tasks",
    ),
    "negative guard": (
        BASE + SYNC + "    guard: {creates: -1}\n    fields: {A: {from: person.title, owner: ours}}\n",
        "12: syncs[0].guard.creates: must be at least 0",
    ),
    "unknown segment in a sync": (
        BASE + SYNC + "    segments: {lead_cald: Hot}\n",
        "12: syncs[0].segments.lead_cald: no segment is called 'lead_cald'; did you mean 'lead_caldo'? "
        "Known: lead_caldo",
    ),
    "sink without segments": (
        "version: 1\n"
        "connections: {files: {plugin: sheet, path: x}}\n"
        "segments: {hot: {all: [email_open]}}\n"
        "syncs:\n"
        "  - {name: a, to: files, object: x, match: key, segments: {hot: Hot}}\n",
        "5: syncs[0].segments: 'files' (plugin sheet) cannot hold segments; no connection here can",
    ),
    "two owners, two keys, one name": (
        BASE + SYNC + "    fields: {A: {from: person.title, owner: ours}}\n"
        "  - name: leads\n"
        "    to: crm\n"
        "    object: Contact\n"
        "    also: [Lead]\n"
        "    match: Other__c\n"
        "    fields: {A: {from: person.role, owner: ours}}\n",
        "13: syncs[1].name: two syncs are called 'leads', the first in line 8; rename one\n"
        f"15: syncs[1].object: {_alike('leads', 'leads', 10)}\n"
        f"16: syncs[1].also: {_alike('leads', 'leads', 8)}\n"
        f"17: syncs[1].match: {_alike('leads', 'leads', 11)}\n"
        "18: syncs[1].fields.A: this field is already mapped in sync 'leads', line 12; keep one owner",
    ),
    "several mistakes in one sync": (
        BASE + SYNC + "    when_missing: create\n"
        "    create_if: {score: interese, at_least: warm}\n"
        "    fields: {A: {from: segment.cold, owner: us}}\n",
        "13: syncs[0].create_if.at_least: must be a number, not text\n"
        "13: syncs[0].create_if.score: no score is called 'interese'; did you mean 'interesse'? Known: "
        "interesse\n"
        "14: syncs[0].fields.A.from: no segment is called 'cold'; Known: lead_caldo\n"
        "14: syncs[0].fields.A.owner: not valid; did you mean 'ours'? Known: ours, shared, theirs",
    ),
}

TWO_SEGMENTS = BASE.replace("lead_caldo: {", "cold: {all: [email_click]}, lead_caldo: {")

JOINED = {
    "two segments in one list": (
        TWO_SEGMENTS + SYNC + "    segments:\n      lead_caldo: Hot\n      cold: hot\n",
        "14: syncs[0].segments.cold: segments 'cold' and 'lead_caldo' (in sync 'leads', line 13) both keep 'hot', and "
        "each would remove whom the other adds; give each a list of its own, or make one segment of the two",
    ),
    "two segments of two syncs in one list": (
        TWO_SEGMENTS + SYNC + SECOND + "    segments: {cold: Hot}\n",
        "18: syncs[1].segments.cold: segments 'cold' and 'lead_caldo' (in sync 'leads', line 12) both keep 'Hot', and "
        "each would remove whom the other adds; give each a list of its own, or make one segment of the two",
    ),
    "one segment in two lists": (
        BASE + SYNC + SECOND + "    segments: {lead_caldo: Warm}\n",
        "18: syncs[1].segments.lead_caldo: 'lead_caldo' already has another list in sync 'leads', line 12; keep one",
    ),
    "another object": (
        BASE + SYNC + SECOND.replace("Lead", "Contact"),
        f"15: syncs[1].object: {_alike('more', 'leads', 10)}",
    ),
    "more objects": (
        BASE + SYNC + SECOND + "    also: [Contact]\n",
        f"18: syncs[1].also: {_alike('more', 'leads', 8)}",
    ),
    "another match": (
        BASE + SYNC + SECOND.replace("Key__c", "Other__c"),
        f"16: syncs[1].match: {_alike('more', 'leads', 11)}",
    ),
    "another when_missing": (
        BASE + SYNC + SECOND + "    when_missing: create\n",
        f"18: syncs[1].when_missing: {_alike('more', 'leads', 8)}",
    ),
    "create_if of one only": (
        BASE + SYNC + "    when_missing: create\n    create_if: {score: interesse, at_least: 20}\n"
        + SECOND + "    when_missing: create\n",
        f"15: syncs[1].create_if: {_alike('more', 'leads', 13)}",
    ),
    "another guard": (
        BASE + SYNC + "    guard: {creates: 10, clears: 5}\n" + SECOND + "    guard: {creates: null, clears: 5}\n",
        f"19: syncs[1].guard.creates: {_alike('more', 'leads', 12)}",
    ),
}  # fmt: skip

CASES = {**WHOLE_FILE, **CONNECTIONS, **RULES, **ACTIONS, **FIELD_MAPPINGS, **CONSENT, **SYNCS, **JOINED}


@pytest.mark.parametrize(("text", "message"), CASES.values(), ids=list(CASES))
def test_a_mistake_is_told_with_line_key_and_what_is_valid(
    complaint: Callable[..., str], text: str, message: str
) -> None:
    expected = "\n".join(f"connectors.yaml:{line}" for line in message.split("\n"))
    assert complaint(text) == expected


def test_mistakes_in_all_sections_come_together_in_the_order_of_the_file(complaint: Callable[..., str]) -> None:
    told = complaint(
        BASE.replace("audience", "audiense").replace("${SF_SECRET}", "${NOT_SET}")
        + SYNC
        + "    every: hourly\n    fields: {A: {from: score.none, owner: ours}}\nactions: [{when: {enters: nobody}}]\n"
    )
    assert [line.split(": ")[1] for line in told.split("\n")] == [
        "connections.newsletter.audiense",
        "connections.crm.login.client_secret",
        "syncs[0].every",
        "syncs[0].fields.A.from",
        "actions[0].task",
        "actions[0].when.enters",
    ]


def test_syncs_of_one_connection_that_agree_may_say_it_in_other_words(load_text: Callable[..., Loaded]) -> None:
    """Letter case, order, defaults and silence about the guard are no difference; other connections are free."""
    create = "    when_missing: create\n    create_if: {score: interesse, at_least: 20"
    text = (
        BASE.replace("scores:", "  files: {plugin: sheet, path: x}\nscores:")
        + SYNC + "    also: [Contact, Account]\n" + create + "}\n    guard: {creates: 10}\n"
        + SECOND.replace("Lead", "lead") + "    also: [account, contact]\n" + create + ", identifier: email}\n"
        + "    guard: {clears: 10}\n    segments: {lead_caldo: Hot}\n"
        + SYNC.removeprefix("syncs:\n").replace("crm", "files").replace("leads", "other").replace("Key__c", "K")
        + "    fields: {A: {from: person.role, owner: ours}}\n"
    )  # fmt: skip
    assert [sync.name for sync in load_text(text).config.syncs] == ["leads", "more", "other"]
