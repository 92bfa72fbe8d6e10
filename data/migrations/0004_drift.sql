-- What the watch over the models saw: one row per measure of a model at a moment. The rows of one model and moment are
-- replaced as a whole. `part` is the feature of a feature's measure, and the version of a model that was trained for it.

create table drift (
    component      varchar not null,
    model_version  varchar not null,
    asof_at        timestamptz not null,     -- the moment asked: the end of the day looked at
    measure        varchar not null,         -- feature_psi, shifted_features, model_mix_psi, risk_psi, precision, ...
    part           varchar not null,         -- a feature, a version, or empty
    value          double,
    low            double,                   -- 95 % interval, where there is one
    high           double,
    threshold      double,                   -- beyond it is an alarm; null: no alarm is ever raised by this row
    alarm          varchar                   -- the sentence for a person; null: within its threshold
);
