-- Statements are separated by blank lines. Files and texts: few rows, large values.
CREATE DATABASE media CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci;

USE media;

CREATE TABLE ledger (
  id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  digest BINARY(8) NOT NULL,
  written TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  KEY by_id (id)
) COMMENT = 'one row per transaction; without a primary key, so that a row applied twice is there twice';

CREATE TABLE files (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT,
  path VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  body MEDIUMBLOB NOT NULL,
  bytes INT UNSIGNED GENERATED ALWAYS AS (LENGTH(body)) STORED,
  thumbnail TINYBLOB NULL,
  changed DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  PRIMARY KEY (id),
  UNIQUE KEY by_path (path)
);

CREATE TABLE tags (
  name CHAR(40) NOT NULL,
  colour SET('red', 'green', 'blue') NULL,
  PRIMARY KEY (name)
);

CREATE TABLE file_tags (
  file_id INT UNSIGNED NOT NULL,
  tag CHAR(40) NOT NULL,
  PRIMARY KEY (file_id, tag),
  CONSTRAINT file_tags_file FOREIGN KEY (file_id) REFERENCES files (id) ON DELETE CASCADE,
  CONSTRAINT file_tags_tag FOREIGN KEY (tag) REFERENCES tags (name)
);

CREATE TABLE notes (
  id SMALLINT UNSIGNED NOT NULL AUTO_INCREMENT,
  language CHAR(2) CHARACTER SET ascii NOT NULL,
  body LONGTEXT NOT NULL,
  latin VARCHAR(200) CHARACTER SET latin1 NULL,
  PRIMARY KEY (id)
);

CREATE TABLE downloads (
  file_id INT UNSIGNED NOT NULL,
  day DATE NOT NULL,
  count INT NOT NULL DEFAULT 0,
  PRIMARY KEY (file_id, day)
) PARTITION BY HASH (file_id) PARTITIONS 4;

CREATE DEFINER = shop@'%' SQL SECURITY INVOKER VIEW tagged AS
SELECT f.path, t.tag FROM files f JOIN file_tags t ON t.file_id = f.id;

INSERT INTO tags (name, colour)
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20)
SELECT CONCAT('Tag', i), ELT(1 + i % 3, 'red', 'green,blue', NULL) FROM n;

INSERT INTO files (path, body, thumbnail)
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
SELECT CONCAT('/pictures/', i, '.raw'), REPEAT(UNHEX(SHA2(i, 256)), 1 + i * 20), UNHEX(LEFT(SHA2(i, 256), 32)) FROM n;

INSERT INTO file_tags (file_id, tag) SELECT f.id, t.name FROM files f JOIN tags t ON CRC32(t.name) % 9 = f.id % 9;

INSERT INTO notes (language, body, latin)
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
SELECT ELT(1 + i % 3, 'de', 'en', 'ja'), REPEAT(CONCAT('Fünf Füchse 🦊 ', i, ' '), 30), CONCAT('Größe ', i) FROM n;

INSERT INTO downloads (file_id, day, count) SELECT id, '2026-03-01', id FROM files;
