CREATE TABLE acknowledged (
    connection TEXT NOT NULL,
    object TEXT NOT NULL,
    remote_id TEXT NOT NULL,
    fields TEXT NOT NULL,
    run_id TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (connection, object, remote_id)
);

CREATE TABLE action (
    key TEXT NOT NULL,
    person_id BIGINT NOT NULL,
    connection TEXT NOT NULL,
    rule TEXT NOT NULL,
    payload TEXT NOT NULL,
    status TEXT NOT NULL,
    remote_id TEXT,
    run_id TEXT NOT NULL,
    created_us BIGINT NOT NULL,
    PRIMARY KEY (key)
);

CREATE INDEX action_person ON action (person_id);

CREATE INDEX action_waiting ON action (connection, status);

CREATE TABLE attribute (
    person_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    event_id BYTEA NOT NULL,
    PRIMARY KEY (person_id, name)
);

CREATE TABLE conflict (
    person_id BIGINT NOT NULL,
    connection TEXT NOT NULL,
    reason TEXT NOT NULL,
    candidates TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (person_id, connection)
);

CREATE TABLE cursor (
    connection TEXT NOT NULL,
    stream TEXT NOT NULL,
    cursor TEXT,
    updated_us BIGINT NOT NULL,
    PRIMARY KEY (connection, stream)
);

CREATE TABLE dead_letter (
    connection TEXT NOT NULL,
    operation TEXT NOT NULL,
    object TEXT NOT NULL,
    key TEXT NOT NULL,
    person_id BIGINT NOT NULL,
    payload TEXT NOT NULL,
    code TEXT,
    reason TEXT,
    attempts INTEGER NOT NULL,
    first_us BIGINT NOT NULL,
    last_us BIGINT NOT NULL,
    run_id TEXT NOT NULL,
    PRIMARY KEY (connection, operation, object, key)
);

CREATE INDEX dead_letter_person ON dead_letter (person_id);

CREATE TABLE event (
    id BYTEA NOT NULL,
    person_id BIGINT NOT NULL,
    type TEXT NOT NULL,
    t_us BIGINT NOT NULL,
    machine BOOLEAN NOT NULL,
    properties TEXT NOT NULL,
    source TEXT NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX event_person ON event (person_id, t_us);

CREATE TABLE identifier (
    namespace TEXT NOT NULL,
    value TEXT NOT NULL,
    person_id BIGINT NOT NULL,
    first_us BIGINT NOT NULL,
    PRIMARY KEY (namespace, value)
);

CREATE INDEX identifier_person ON identifier (person_id);

CREATE TABLE keep (
    connection TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (connection, name)
);

CREATE TABLE lease (
    name TEXT NOT NULL,
    owner TEXT NOT NULL,
    expires_us BIGINT NOT NULL,
    PRIMARY KEY (name)
);

CREATE TABLE link (
    person_id BIGINT NOT NULL,
    connection TEXT NOT NULL,
    object TEXT NOT NULL,
    remote_id TEXT NOT NULL,
    how TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (person_id, connection),
    UNIQUE (connection, object, remote_id)
);

CREATE TABLE member (
    connection TEXT NOT NULL,
    segment TEXT NOT NULL,
    person_id BIGINT NOT NULL,
    object TEXT NOT NULL,
    remote_id TEXT NOT NULL,
    ours BOOLEAN NOT NULL,
    PRIMARY KEY (connection, segment, person_id)
);

CREATE INDEX member_person ON member (person_id);

CREATE TABLE meta (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (name)
);

CREATE TABLE outbox (
    id BIGSERIAL NOT NULL,
    run_id TEXT NOT NULL,
    connection TEXT NOT NULL,
    operation TEXT NOT NULL,
    object TEXT NOT NULL,
    key TEXT NOT NULL,
    person_id BIGINT NOT NULL,
    match TEXT NOT NULL,
    rank BIGINT NOT NULL,
    payload TEXT NOT NULL,
    before TEXT,
    status TEXT NOT NULL,
    code TEXT,
    reason TEXT,
    remote_id TEXT,
    done_us BIGINT,
    PRIMARY KEY (id)
);

CREATE INDEX outbox_open ON outbox (status, connection) WHERE status = 'pending' OR status = 'sent';

CREATE INDEX outbox_run ON outbox (run_id, status);

CREATE TABLE person (
    id BIGSERIAL NOT NULL,
    key TEXT NOT NULL,
    created_us BIGINT NOT NULL,
    merged_into BIGINT,
    PRIMARY KEY (id),
    UNIQUE (key)
);

CREATE INDEX person_merged ON person (merged_into) WHERE merged_into IS NOT NULL;

CREATE TABLE raw (
    id BIGSERIAL NOT NULL,
    digest BYTEA NOT NULL,
    connection TEXT NOT NULL,
    stream TEXT NOT NULL,
    key TEXT NOT NULL,
    payload TEXT NOT NULL,
    received_us BIGINT NOT NULL,
    run_id TEXT NOT NULL,
    status SMALLINT NOT NULL,
    reason TEXT,
    PRIMARY KEY (id),
    UNIQUE (digest)
);

CREATE INDEX raw_open ON raw (connection, id) WHERE status != 1;

CREATE TABLE remote (
    connection TEXT NOT NULL,
    object TEXT NOT NULL,
    remote_id TEXT NOT NULL,
    key TEXT,
    fields TEXT NOT NULL,
    changed_us BIGINT,
    changed_by TEXT NOT NULL,
    deleted BOOLEAN NOT NULL,
    successor_object TEXT,
    successor_id TEXT,
    PRIMARY KEY (connection, object, remote_id)
);

CREATE INDEX remote_key ON remote (connection, key);

CREATE TABLE remote_email (
    connection TEXT NOT NULL,
    email TEXT NOT NULL,
    object TEXT NOT NULL,
    remote_id TEXT NOT NULL,
    PRIMARY KEY (connection, email, object, remote_id)
);

CREATE INDEX remote_email_record ON remote_email (connection, object, remote_id);

CREATE TABLE run (
    id TEXT NOT NULL,
    started_us BIGINT NOT NULL,
    finished_us BIGINT,
    status TEXT NOT NULL,
    as_of_us BIGINT NOT NULL,
    report TEXT,
    PRIMARY KEY (id)
);

CREATE TABLE score (
    person_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    model TEXT NOT NULL,
    version INTEGER NOT NULL,
    value_hundredths BIGINT NOT NULL,
    band TEXT,
    as_of_us BIGINT NOT NULL,
    PRIMARY KEY (person_id, name)
);

CREATE TABLE score_history (
    id BIGSERIAL NOT NULL,
    person_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    model TEXT NOT NULL,
    version INTEGER NOT NULL,
    value_hundredths BIGINT NOT NULL,
    band TEXT,
    as_of_us BIGINT NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX score_history_person ON score_history (person_id, name, as_of_us);

CREATE TABLE stale (
    person_id BIGSERIAL NOT NULL,
    PRIMARY KEY (person_id)
);

CREATE TABLE standing (
    person_id BIGINT NOT NULL,
    rule TEXT NOT NULL,
    inside BOOLEAN NOT NULL,
    armed BOOLEAN NOT NULL,
    entered INTEGER NOT NULL,
    since_us BIGINT NOT NULL,
    PRIMARY KEY (person_id, rule)
);

CREATE TABLE suppressed (
    id BYTEA NOT NULL,
    person_id BIGINT NOT NULL,
    type TEXT NOT NULL,
    t_us BIGINT NOT NULL,
    machine BOOLEAN NOT NULL,
    properties TEXT NOT NULL,
    source TEXT NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX suppressed_person ON suppressed (person_id, t_us);
