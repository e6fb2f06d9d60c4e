-- Statements are separated by blank lines. Users, their money and their sessions.
CREATE DATABASE accounts CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci;

USE accounts;

CREATE TABLE ledger (
  id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  digest BINARY(8) NOT NULL,
  written TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  KEY by_id (id)
) COMMENT = 'one row per transaction; without a primary key, so that a row applied twice is there twice';

CREATE TABLE users (
  id BINARY(16) NOT NULL,
  login VARCHAR(80) NOT NULL,
  display VARCHAR(120) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  active BOOLEAN NOT NULL DEFAULT TRUE,
  secret VARBINARY(64) NULL,
  settings JSON NULL,
  seen DATETIME(3) NULL,
  PRIMARY KEY (id),
  UNIQUE KEY by_login (login)
) COMMENT = 'keys are UUIDs';

CREATE TABLE sessions (
  token VARBINARY(32) NOT NULL,
  user_id BINARY(16) NOT NULL,
  address VARBINARY(16) NULL,
  started DATETIME(6) NOT NULL,
  PRIMARY KEY (token),
  KEY by_user (user_id),
  CONSTRAINT sessions_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);

CREATE TABLE balances (
  currency CHAR(3) NOT NULL,
  holder VARCHAR(40) NOT NULL,
  amount DECIMAL(30, 10) NOT NULL,
  changes INT UNSIGNED NOT NULL DEFAULT 0,
  PRIMARY KEY (currency, holder)
) COMMENT = 'a composite key of texts in a collation that ignores case';

CREATE TABLE transfers (
  id BIGINT NOT NULL AUTO_INCREMENT,
  currency CHAR(3) NOT NULL,
  sender VARCHAR(40) NOT NULL,
  receiver VARCHAR(40) NOT NULL,
  amount DECIMAL(20, 10) NOT NULL,
  at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  memo TINYTEXT NULL,
  PRIMARY KEY (id),
  CONSTRAINT transfer_sender FOREIGN KEY (currency, sender) REFERENCES balances (currency, holder),
  CONSTRAINT transfer_receiver FOREIGN KEY (currency, receiver) REFERENCES balances (currency, holder)
);

CREATE TABLE audit (
  at DATETIME(6) NOT NULL,
  what VARCHAR(40) NOT NULL,
  detail JSON NULL
) COMMENT = 'filled by a trigger; no key at all';

CREATE DEFINER = shop@'%' TRIGGER balance_changed AFTER UPDATE ON balances FOR EACH ROW
BEGIN
  IF NEW.changes % 3 = 0 THEN
    INSERT INTO audit VALUES (NOW(6), 'balance', JSON_OBJECT('holder', NEW.holder, 'amount', NEW.amount));
  END IF;
END;

CREATE DEFINER = shop@'%' SQL SECURITY DEFINER VIEW rich AS
SELECT currency, holder, amount FROM balances WHERE amount > 1000;

CREATE DEFINER = shop@'%' PROCEDURE transfer(IN c CHAR(3), IN a VARCHAR(40), IN b VARCHAR(40), IN x DECIMAL(20, 10))
BEGIN
  UPDATE balances SET amount = amount - x, changes = changes + 1 WHERE currency = c AND holder = a;
  UPDATE balances SET amount = amount + x, changes = changes + 1 WHERE currency = c AND holder = b;
  INSERT INTO transfers (currency, sender, receiver, amount) VALUES (c, a, b, x);
END;

INSERT INTO users (id, login, display, secret, settings, seen)
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250)
SELECT UNHEX(LEFT(SHA2(i, 256), 32)), CONCAT('User', i), CONCAT(ELT(1 + i % 3, 'Ünal ', 'حسن ', '🐧 '), i), UNHEX(SHA2(i, 512)),
  JSON_OBJECT('theme', ELT(1 + i % 2, 'dark', 'light'), 'limits', JSON_ARRAY(i, i * 2)), '2026-02-03 04:05:06.789' FROM n;

INSERT INTO sessions (token, user_id, address, started)
SELECT UNHEX(SHA2(HEX(id), 256)), id, INET6_ATON('2001:db8::1'), '2026-02-03 04:05:06.000001' FROM users;

INSERT INTO balances (currency, holder, amount)
SELECT c.currency, u.login, 1000 FROM users u, (SELECT 'EUR' AS currency UNION ALL SELECT 'usd') c;
