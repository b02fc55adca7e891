-- Two roles on the catalogue, each with what its process does and no more. Run by the owner of the tables, after every
-- migration:  psql --set ON_ERROR_STOP=1 --single-transaction --file infra/postgresql/roles.sql DATABASE
--
--   shredvault_api        files, reads, holds, takes orders in, grants access; condemns nothing and releases no hold.
--   shredvault_destroyer  condemns, switches trees, drafts and uses orders, adopts policies, releases holds, reclaims.
--                         It has every key, so it gets no sealed sheet and no slip, and it can make nobody a reviewer.
--
-- The two roles are there, or who runs it may make them. What remains: the owner of the tables can do everything; no process of the vault is the owner. What grants cannot
-- say (a held record is not condemned, a tree never goes back) the triggers of the schema say, to both roles.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'shredvault_api') THEN
        CREATE ROLE shredvault_api LOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'shredvault_destroyer') THEN
        CREATE ROLE shredvault_destroyer LOGIN;
    END IF;
END
$$;

-- From nothing: what an earlier version of this file granted does not stay.
REVOKE ALL ON SCHEMA public FROM PUBLIC, shredvault_api, shredvault_destroyer;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, shredvault_api, shredvault_destroyer;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM PUBLIC, shredvault_api, shredvault_destroyer;
GRANT USAGE ON SCHEMA public TO shredvault_api, shredvault_destroyer;
DO $$ BEGIN
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO shredvault_api, shredvault_destroyer', current_database());
END $$;

-- Both: looking, their lease, the journal (append-only), and the growth of trees under a living master.
GRANT SELECT ON alembic_version, vaults, policies, masters, trees, roots, sealed_pages, tree_pages, cohorts, holds,
    hold_records, hold_scopes, record_holds, destructions, destruction_lists, orders, lists, list_slots, locked_objects,
    journal, ledger_nodes, certificates, nodes, time_marks, sunsets, gone_records
    TO shredvault_api, shredvault_destroyer;
-- The clocks are watched and deadlines latch wherever the vault runs, but for those that an order decides. What is
-- written here without the home's key is not believed: docs/decisions/0021-the-salt-of-an-entry-is-a-tag.md.
GRANT INSERT, UPDATE ON time_marks, sunsets TO shredvault_api, shredvault_destroyer;
GRANT INSERT, UPDATE, DELETE ON nodes TO shredvault_api, shredvault_destroyer;
GRANT INSERT ON journal, ledger_nodes, roots, sealed_pages TO shredvault_api, shredvault_destroyer;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO shredvault_api, shredvault_destroyer;
GRANT UPDATE (published, published_digest) ON vaults TO shredvault_api, shredvault_destroyer;
GRANT UPDATE (version, next_version) ON trees TO shredvault_api, shredvault_destroyer;
GRANT INSERT, DELETE ON tree_pages TO shredvault_api, shredvault_destroyer;
-- Which only the schema's triggers write, with the rights of who set them off.
GRANT UPDATE (revision) ON cohorts TO shredvault_api, shredvault_destroyer;

-- The API: records come in whole, and are completed; holds are placed.
GRANT SELECT ON records, documents, record_states, reads, access_tokens TO shredvault_api;
GRANT INSERT (id, due_on, opened_at), UPDATE (next_slot) ON cohorts TO shredvault_api;
GRANT INSERT (id, cohort_id, slot, policy_version, opened_at, opened_by, idempotency_hash, body_tag,
    sheet), UPDATE (completed_at, due_on) ON records TO shredvault_api;
GRANT INSERT ON documents, reads, hold_records, hold_scopes TO shredvault_api;
-- A hold is placed, widened and extended; no column by which one ends is among these.
GRANT INSERT (id, kind, authority, docket, reason, sealed, seal_tag, ordered_at, served_at, effective_at, entered_at, review_on,
    ends_on, tail_days, tail_reason, placer), UPDATE (review_on, ends_on) ON holds TO shredvault_api;
-- Orders are handed in over HTTP too; they give authority only by their signatures.
GRANT INSERT (id, action, body, approvals, policy_version, accepted_at, effective_at, expires_at) ON orders
    TO shredvault_api;
GRANT INSERT (id, role, label, secret_hash, created_at), UPDATE (revoked_at) ON access_tokens TO shredvault_api;

-- The destroyer: all columns of records and documents but the sealed ones.
GRANT SELECT (id, cohort_id, slot, policy_version, opened_at, completed_at, due_on, spared, condemned_by, reclaimed)
    ON records TO shredvault_destroyer;
GRANT SELECT (id, cohort_id, slot, state, destruction_id, opened_at, completed_at, due_on, policy_version)
    ON record_states TO shredvault_destroyer;
GRANT SELECT (id, record_id, object_name), DELETE ON documents TO shredvault_destroyer;
GRANT INSERT (name, tree, epoch, custodian, ends_at), UPDATE (destroyed_at, given_up_at) ON masters
    TO shredvault_destroyer;
GRANT DELETE ON roots, sealed_pages TO shredvault_destroyer;
GRANT UPDATE (closed_at, condemned_by) ON cohorts TO shredvault_destroyer;
-- The rest of a record's columns is emptied when it is reclaimed, which the triggers allow of destroyed ones only.
GRANT UPDATE (spared, condemned_by, reclaimed, opened_by, idempotency_hash, body_tag, sheet, due_on)
    ON records TO shredvault_destroyer;
GRANT UPDATE (ends_at, ending_order, ended_at) ON hold_records, hold_scopes TO shredvault_destroyer;
GRANT UPDATE (released_at, review_on, ends_on) ON holds TO shredvault_destroyer;
GRANT INSERT, UPDATE ON destructions TO shredvault_destroyer;
GRANT INSERT ON destruction_lists, lists, list_slots, policies, certificates TO shredvault_destroyer;
GRANT INSERT (id, action, body, approvals, policy_version, accepted_at, effective_at, expires_at),
    UPDATE (used_at, used_by, void_reason) ON orders TO shredvault_destroyer;
GRANT INSERT, UPDATE, DELETE ON locked_objects TO shredvault_destroyer;
