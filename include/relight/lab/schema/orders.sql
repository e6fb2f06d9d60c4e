-- Statements are separated by blank lines. A shop: the busiest database of a shard.
CREATE DATABASE orders CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci;

USE orders;

CREATE TABLE ledger (
  id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  digest BINARY(8) NOT NULL,
  written TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  KEY by_id (id)
) COMMENT = 'one row per transaction; without a primary key, so that a row applied twice is there twice';

CREATE TABLE customers (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  email VARCHAR(190) NOT NULL,
  name VARCHAR(100) NOT NULL,
  tier ENUM('new', 'regular', 'gold') NOT NULL DEFAULT 'new',
  wants SET('mail', 'sms', 'post') NOT NULL DEFAULT '',
  balance DECIMAL(18, 4) NOT NULL DEFAULT 0,
  born DATE NULL,
  preferences JSON NULL,
  joined DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  orders_placed INT UNSIGNED NOT NULL DEFAULT 0,
  first_letter CHAR(1) GENERATED ALWAYS AS (LEFT(name, 1)) VIRTUAL,
  PRIMARY KEY (id),
  UNIQUE KEY by_email (email),
  KEY by_letter (first_letter)
);

CREATE TABLE products (
  sku VARCHAR(40) NOT NULL,
  title VARCHAR(200) NOT NULL,
  price DECIMAL(12, 2) NOT NULL,
  weight FLOAT NULL,
  ratio DOUBLE NULL,
  flags BIT(12) NOT NULL DEFAULT b'0',
  since YEAR NULL,
  pick_up TIME(3) NULL,
  attributes JSON NULL,
  stock MEDIUMINT NOT NULL DEFAULT 0,
  PRIMARY KEY (sku)
) COMMENT = 'a key in a collation that ignores case and accents';

CREATE TABLE orders (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  customer_id BIGINT UNSIGNED NOT NULL,
  status ENUM('open', 'paid', 'sent', 'returned') NOT NULL DEFAULT 'open',
  placed TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  net DECIMAL(12, 2) NOT NULL DEFAULT 0,
  tax DECIMAL(12, 2) GENERATED ALWAYS AS (ROUND(net * 0.19, 2)) STORED,
  note TEXT NULL,
  PRIMARY KEY (id),
  KEY by_customer (customer_id, placed),
  CONSTRAINT orders_customer FOREIGN KEY (customer_id) REFERENCES customers (id)
);

CREATE TABLE order_lines (
  order_id BIGINT UNSIGNED NOT NULL,
  line SMALLINT UNSIGNED NOT NULL,
  sku VARCHAR(40) NOT NULL,
  quantity TINYINT UNSIGNED NOT NULL,
  price DECIMAL(12, 2) NOT NULL,
  total DECIMAL(14, 2) GENERATED ALWAYS AS (quantity * price) VIRTUAL,
  PRIMARY KEY (order_id, line),
  CONSTRAINT lines_order FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE,
  CONSTRAINT lines_product FOREIGN KEY (sku) REFERENCES products (sku) ON UPDATE CASCADE
);

CREATE TABLE visits (
  visitor CHAR(12) NOT NULL,
  page VARCHAR(120) NOT NULL,
  at DATETIME NULL,
  seconds SMALLINT NULL
) COMMENT = 'no primary key, and rows that are equal';

CREATE TABLE cart (
  customer_id BIGINT UNSIGNED NOT NULL,
  sku VARCHAR(40) NOT NULL,
  quantity INT NOT NULL,
  PRIMARY KEY (customer_id, sku)
) COMMENT = 'small; truncated now and then';

CREATE TABLE counters (
  name VARCHAR(40) NOT NULL,
  value BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (name)
);

CREATE DEFINER = shop@'%' SQL SECURITY INVOKER VIEW customer_totals AS
SELECT c.id, c.email, COUNT(o.id) AS orders_placed, COALESCE(SUM(o.net + o.tax), 0) AS paid
FROM customers c LEFT JOIN orders o ON o.customer_id = c.id
GROUP BY c.id, c.email;

CREATE DEFINER = shop@'%' TRIGGER order_placed AFTER INSERT ON orders FOR EACH ROW
BEGIN
  UPDATE customers SET orders_placed = orders_placed + 1 WHERE id = NEW.customer_id;
END;

CREATE DEFINER = shop@'%' PROCEDURE place_order(IN customer BIGINT UNSIGNED, IN wanted VARCHAR(40), IN pieces INT)
BEGIN
  INSERT INTO orders (customer_id, net) SELECT customer, price * pieces FROM products WHERE sku = wanted;
  INSERT INTO order_lines (order_id, line, sku, quantity, price)
    SELECT LAST_INSERT_ID(), 1, sku, pieces, price FROM products WHERE sku = wanted;
END;

CREATE DEFINER = shop@'%' FUNCTION gross(net DECIMAL(12, 2)) RETURNS DECIMAL(12, 2) DETERMINISTIC NO SQL
RETURN ROUND(net * 1.19, 2);

CREATE DEFINER = shop@'%' EVENT forget_visits ON SCHEDULE EVERY 1 DAY STARTS CURRENT_TIMESTAMP + INTERVAL 1 DAY
DO DELETE FROM orders.visits WHERE at < NOW() - INTERVAL 30 DAY;

INSERT INTO counters (name) VALUES ('orders'), ('returns'), ('sessions');

INSERT INTO customers (email, name, tier, wants, balance, born, preferences)
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
SELECT CONCAT('customer', i, '@example.org'), ELT(1 + i % 4, 'Zoë Müller', 'Łukasz Żak', '山田 太郎', 'Ada 🦊 Fox'),
  ELT(1 + i % 3, 'new', 'regular', 'gold'), ELT(1 + i % 3, '', 'mail', 'mail,post'), i * 1.2345,
  DATE_ADD('1950-01-01', INTERVAL i * 37 DAY), JSON_OBJECT('colour', ELT(1 + i % 2, 'red', 'blue'), 'n', i)
FROM n;

INSERT INTO products (sku, title, price, weight, ratio, flags, since, pick_up, attributes, stock)
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120)
SELECT CONCAT(ELT(1 + i % 3, 'Ab', 'cÉ', 'xY'), '-', LPAD(i, 4, '0')), CONCAT('Thing number ', i, ' ✨'), 1 + i / 7,
  i / 3, 1 / i, i, 1990 + i % 30, SEC_TO_TIME(i * 61.5), JSON_ARRAY(i, JSON_OBJECT('size', i % 9)), 1000 FROM n;

INSERT INTO orders (customer_id, status, net, note)
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
SELECT 1 + i % 300, ELT(1 + i % 4, 'open', 'paid', 'sent', 'returned'), i * 1.11, IF(i % 5, NULL, REPEAT('please ring ', 8))
FROM n;

INSERT INTO order_lines (order_id, line, sku, quantity, price)
SELECT o.id, ROW_NUMBER() OVER (PARTITION BY o.id ORDER BY p.sku), p.sku, 1 + o.id % 5, p.price
FROM orders o JOIN products p ON o.id % 60 = p.flags % 60;

INSERT INTO visits (visitor, page, at, seconds)
SELECT LPAD(id % 20, 12, 'v'), CONCAT('/', id % 7), '2026-01-01 12:00:00', id % 3 FROM orders WHERE id <= 200;
