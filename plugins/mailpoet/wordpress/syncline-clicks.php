<?php
/**
 * Plugin Name: syncline clicks for MailPoet
 * Description: Tells syncline of every click in a MailPoet e-mail as it happens, signed. It changes nothing.
 *
 * Put this file into wp-content/mu-plugins/ and these lines into wp-config.php:
 *
 *     define('SYNCLINE_URL', 'https://syncline.example/hooks/blog');  // the connection's webhook address
 *     define('SYNCLINE_SECRET', 'a long random text');                // the setting webhook_secret
 *     define('SYNCLINE_SITE', 'blog.example');                        // the setting site
 *
 * On a multisite it speaks for the main blog; the other blogs' clicks come by SQL.
 */

defined('ABSPATH') || exit;

add_action('mailpoet_link_clicked', 'syncline_link_clicked', 10, 3);

function syncline_link_clicked($link, $subscriber, $preview = false) {
    if ($preview || !syncline_is_set_up()) {
        return;
    }
    // The reader's redirect comes next: whatever can be slow or fail waits until it is out.
    add_action('shutdown', function () use ($link, $subscriber) {
        try {
            syncline_finish_request();
            $click = syncline_click((int) $link->getId(), (int) $subscriber->getId());
            if ($click !== null) {
                syncline_send($click);
            }
        } catch (\Throwable $error) {
            error_log('syncline: a click was not told (' . get_class($error) . ', line ' . $error->getLine() . ')');
        }
    });
}

function syncline_is_set_up() {
    foreach (['SYNCLINE_URL', 'SYNCLINE_SECRET', 'SYNCLINE_SITE'] as $name) {
        if (!defined($name) || constant($name) === '') {
            return false;
        }
    }
    return is_main_site();
}

function syncline_finish_request() {
    if (function_exists('fastcgi_finish_request')) {
        fastcgi_finish_request();
    } elseif (function_exists('litespeed_finish_request')) {
        litespeed_finish_request();
    } else {
        flush();
    }
}

function syncline_click($link_id, $subscriber_id) {
    global $wpdb;
    $p = $wpdb->prefix . 'mailpoet_';
    // MailPoet has written the row (Statistics\Track\Clicks): what is sent is what SQL would read.
    // UNIX_TIMESTAMP, because the session of $wpdb is in the server's time zone.
    $row = $wpdb->get_row($wpdb->prepare(
        "SELECT c.id, c.newsletter_id, c.subscriber_id, c.queue_id, c.link_id, c.user_agent_type, c.`count`,
                UNIX_TIMESTAMP(c.created_at) AS created_at, UNIX_TIMESTAMP(c.updated_at) AS updated_at,
                l.url, s.email, COALESCE(NULLIF(q.newsletter_rendered_subject, ''), n.subject) AS campaign
           FROM {$p}statistics_clicks c
           LEFT JOIN {$p}newsletter_links l ON l.id = c.link_id
           LEFT JOIN {$p}subscribers s ON s.id = c.subscriber_id
           LEFT JOIN {$p}newsletters n ON n.id = c.newsletter_id
           LEFT JOIN {$p}sending_queues q ON q.id = c.queue_id
          WHERE c.link_id = %d AND c.subscriber_id = %d
          ORDER BY c.id DESC LIMIT 1",
        $link_id,
        $subscriber_id
    ), ARRAY_A);
    if (!$row) {
        return null;
    }
    foreach (['id', 'newsletter_id', 'subscriber_id', 'queue_id', 'link_id', 'user_agent_type', 'count'] as $name) {
        $row[$name] = (int) $row[$name];
    }
    foreach (['created_at', 'updated_at'] as $name) {
        $row[$name] = $row[$name] ? gmdate('Y-m-d H:i:s', (int) $row[$name]) : null;  // 0: MySQL's zero date
    }
    return $row;
}

function syncline_send($click) {
    global $wpdb;
    $body = wp_json_encode([
        'event' => 'link_clicked',
        'site' => SYNCLINE_SITE,
        'prefix' => $wpdb->prefix,
        'click' => $click,
    ]);
    $time = (string) time();
    wp_remote_post(SYNCLINE_URL, [
        'blocking' => false,
        'timeout' => 3,
        'redirection' => 0,
        'headers' => [
            'Content-Type' => 'application/json',
            'X-Syncline-Timestamp' => $time,
            'X-Syncline-Signature' => 'sha256=' . hash_hmac('sha256', $time . '.' . $body, SYNCLINE_SECRET),
        ],
        'body' => $body,
    ]);
}
