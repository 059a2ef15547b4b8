-- One schema for SQLite and PostgreSQL. Amounts are unsigned and big-endian, 16 bytes, in the
-- smallest unit of the token, so that they sort as they count.

-- What the cheques in here are for. A single row.
CREATE TABLE book (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    chain_id BIGINT NOT NULL,
    address BYTEA NOT NULL,
    settlement_key BYTEA NOT NULL
);

-- Which account a node earns for and pays from, signed by both. Nodes are numbered by place as they come: so those are
-- found of which nothing was brought since many others came.
CREATE TABLE registration (
    node BYTEA PRIMARY KEY,
    account BYTEA NOT NULL,
    sequence BIGINT NOT NULL,
    node_signature BYTEA NOT NULL,
    account_signature BYTEA NOT NULL,
    place BIGINT NOT NULL
);
CREATE INDEX registration_account ON registration (account);
CREATE INDEX registration_place ON registration (place);

-- Accounts that have let this service draw on a deposit, once at least, and the last block of which it is known what
-- was paid on their cheques. Who settles on one locks its row.
CREATE TABLE payer (
    account BYTEA PRIMARY KEY,
    block BIGINT NOT NULL
);

-- A provider and a consumer in a network: the sum of their receipts, and what of it is settled. unsettled are the
-- receipts that came since all of it was, less the part of them that is settled. What is due waits in the order of place: who becomes due, or is given a
-- part, comes last. Who adds receipts, or settles, locks the row.
CREATE TABLE pair (
    id BYTEA PRIMARY KEY,
    network BYTEA NOT NULL,
    provider BYTEA NOT NULL,
    consumer BYTEA NOT NULL,
    claimed BYTEA NOT NULL,
    settled BYTEA NOT NULL,
    unsettled BIGINT NOT NULL,
    place BIGINT NOT NULL,
    seconds BIGINT NOT NULL,
    rewarded BIGINT NOT NULL
);
CREATE INDEX pair_provider ON pair (provider);
CREATE INDEX pair_consumer ON pair (consumer);
CREATE INDEX pair_due ON pair (consumer) WHERE claimed <> settled;
CREATE INDEX pair_place ON pair (place);

-- Of each epoch, the receipt with the highest amount, and its offer.
CREATE TABLE receipt (
    pair BYTEA NOT NULL REFERENCES pair (id),
    epoch BIGINT NOT NULL,
    offer BYTEA NOT NULL,
    receipt BYTEA NOT NULL,
    PRIMARY KEY (pair, epoch)
);

-- Of each pair, one proof that the consumer signed two receipts for one place.
CREATE TABLE contradiction (
    pair BYTEA PRIMARY KEY REFERENCES pair (id),
    proof BYTEA NOT NULL
);

-- Every move, never changed: settled is the pair's after it, so that none is made twice. seconds are those that were
-- rewarded with it.
CREATE TABLE settlement (
    pair BYTEA NOT NULL REFERENCES pair (id),
    settled BYTEA NOT NULL,
    payer BYTEA NOT NULL,
    debit BYTEA NOT NULL,
    beneficiary BYTEA NOT NULL,
    credit BYTEA NOT NULL,
    fee_account BYTEA NOT NULL,
    fee BYTEA NOT NULL,
    seconds BIGINT NOT NULL,
    PRIMARY KEY (pair, settled)
);

-- What each beneficiary has been given by each issuer in all. What another service had given before the
-- first cheque of ours is in base. If more was paid than is given, what is given next is worth nothing until it is as
-- much.
CREATE TABLE cheque (
    issuer BYTEA NOT NULL,
    beneficiary BYTEA NOT NULL,
    base BYTEA NOT NULL,
    cumulative BYTEA NOT NULL,
    paid BYTEA NOT NULL,
    PRIMARY KEY (issuer, beneficiary)
);
CREATE INDEX cheque_beneficiary ON cheque (beneficiary, issuer);
